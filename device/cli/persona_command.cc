// lorikeet persona init|train|card|list: personas and catalogs from public text.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/catalog_options.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/owner_text.h"
#include "device/cli/persona_trust_command.h"
#include "device/cli/personalization_common.h"
#include "device/personalization/catalog_builder.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct PersonaArguments {
  EngineArguments engine;
  std::string catalog;
  std::string id;
  std::string out;
  std::string user;
  std::string file;
  CatalogOptions signed_catalog;  // of list
  std::vector<std::string> data;
  std::string modules = "all";
  bool random_basis = false;
  BasisOptions basis;
  PersonaOptions training;
};

json CatalogJson(const Catalog& catalog) {
  json personas = json::array();
  for (const Persona& persona : catalog.personas) {
    personas.push_back({{"id", persona.id}, {"sentence", persona.card.sentence}});
  }
  return {{"version", catalog.version},
          {"base_fingerprint", catalog.base_fingerprint},
          {"architecture", catalog.architecture},
          {"rank", catalog.rank},
          {"alpha", catalog.alpha},
          {"matrices", catalog.basis.size()},
          {"block_size", catalog.block_size()},
          {"hash", CatalogHash(catalog)},
          {"personas", std::move(personas)}};
}

void PrintCatalog(const Catalog& catalog, Output& output) {
  output.Line(absl::StrFormat(
      "catalog version %d: %d personas, rank %d on %d matrices, %d numbers a persona",
      catalog.version, catalog.personas.size(), catalog.rank, catalog.basis.size(),
      catalog.block_size()));
  for (const Persona& persona : catalog.personas) {
    output.Line(absl::StrFormat("  %-16s %s", persona.id, persona.card.sentence));
  }
}

absl::Status RunInit(const PersonaArguments& arguments, Output& output) {
  BasisOptions options = arguments.basis;
  auto modules = ParseModules(arguments.modules);
  if (!modules.ok()) return UsageError(Message(modules.status()));
  options.modules = *std::move(modules);
  if (arguments.random_basis) options.method = BasisMethod::kRandom;
  ASSIGN_OR_RETURN(const std::vector<std::string> documents, ReadPublicTexts(arguments.data));
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  ASSIGN_OR_RETURN(const Catalog catalog,
                   InitCatalog(engine.model(), engine.pool(), documents, options));
  RETURN_IF_ERROR(WriteCatalog(catalog, arguments.out));
  PrintCatalog(catalog, output);
  output.SetJson(CatalogJson(catalog));
  return absl::OkStatus();
}

absl::Status RunTrain(const PersonaArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(Catalog catalog, ReadCatalog(arguments.catalog));
  std::vector<std::string> documents;
  for (const std::string& path : arguments.data) {
    ASSIGN_OR_RETURN(TextFile file, ReadTextFile(path, arguments.user));
    for (std::string& text : file.documents) documents.push_back(std::move(text));
  }
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  const SystemClock clock;
  ASSIGN_OR_RETURN(const TrainResult result,
                   TrainPersona(engine.model(), engine.pool(), clock, &catalog, arguments.id,
                                documents, arguments.training, TrainingProgress(output)));
  RETURN_IF_ERROR(WriteCatalog(catalog, arguments.out.empty() ? arguments.catalog : arguments.out));
  const Persona& persona = catalog.personas[static_cast<size_t>(catalog.FindPersona(arguments.id))];
  output.Line(absl::StrFormat("%s: %s", persona.id, persona.card.sentence));
  if (!result.eval_loss.empty()) {
    double best = result.eval_loss.front().loss;
    for (const LossPoint& point : result.eval_loss) best = std::min(best, point.loss);
    output.Line(absl::StrFormat("%d steps, %.0f tokens/s, held-out loss %.3f -> %.3f", result.steps,
                                result.tokens_per_second, result.eval_loss.front().loss, best));
  }
  json document = TrainingJson(result);
  document["id"] = persona.id;
  document["sentence"] = persona.card.sentence;
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

void PrintCard(std::string_view name, const StyleCard& card, const StyleBackground& background,
               Output& output) {
  output.Line(absl::StrCat(ToAbsl(name), ": ", card.sentence));
  const std::vector<double> traits = StyleTraits(card.statistics, background);
  for (size_t i = 0; i < traits.size(); ++i) {
    output.Line(absl::StrFormat("  %-16s %+.2f", std::string(StyleTraitNames()[i]), traits[i]));
  }
}

json CardJson(std::string_view name, const StyleCard& card, const StyleBackground& background) {
  json document = json::parse(StyleCardToJson(card));
  document["id"] = name;
  const std::vector<double> values = StyleTraits(card.statistics, background);
  json traits = json::object();
  for (size_t i = 0; i < values.size(); ++i) traits[std::string(StyleTraitNames()[i])] = values[i];
  document["traits"] = std::move(traits);
  return document;
}

// The card of a text file against a catalog's background, or the cards of a catalog.
absl::Status RunCard(const PersonaArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const Catalog catalog, ReadCatalog(arguments.catalog));
  if (!arguments.file.empty()) {
    ASSIGN_OR_RETURN(const TextFile file, ReadTextFile(arguments.file, arguments.user));
    const std::vector<std::string_view> views(file.documents.begin(), file.documents.end());
    const StyleCard card = MakeStyleCard(CountStyle(views), catalog.background);
    PrintCard(arguments.file, card, catalog.background, output);
    output.SetJson(CardJson(arguments.file, card, catalog.background));
    return absl::OkStatus();
  }
  json cards = json::array();
  for (const Persona& persona : catalog.personas) {
    if (!arguments.id.empty() && persona.id != arguments.id) continue;
    PrintCard(persona.id, persona.card, catalog.background, output);
    cards.push_back(CardJson(persona.id, persona.card, catalog.background));
  }
  if (cards.empty() && !arguments.id.empty()) {
    return absl::NotFoundError(absl::StrCat(arguments.catalog, ": no persona ", arguments.id));
  }
  output.SetJson({{"cards", std::move(cards)}});
  return absl::OkStatus();
}

absl::Status RunList(const PersonaArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(arguments.signed_catalog));
  PrintCatalog(catalog, output);
  output.SetJson(CatalogJson(catalog));
  return absl::OkStatus();
}

void AddInit(Program& program, CLI::App* group) {
  auto arguments = std::make_shared<PersonaArguments>();
  CLI::App* command =
      program.Add(group, "init", "Make a catalog without personas: shared factors from public text",
                  [arguments](Output& output) { return RunInit(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  command->add_option("--data", arguments->data, "Public text (.txt, .jsonl); repeatable")
      ->required();
  command->add_option("--out", arguments->out, "Catalog to write")->required();
  command->add_option("--rank", arguments->basis.rank, "Rank of the cores")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--alpha", arguments->basis.alpha, "Scale numerator: alpha / rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--modules", arguments->modules, "all, or of q,k,v,o,gate,up,down")
      ->capture_default_str();
  command
      ->add_option("--groups", arguments->basis.text.group_count,
                   "Groups whose gradients are stacked")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--max-tokens", arguments->basis.text.max_tokens, "Public tokens used")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--seed", arguments->basis.seed, "Of the sketches")->capture_default_str();
  command->add_flag("--random-basis", arguments->random_basis,
                    "Random factors instead (a baseline)");
}

void AddTrain(Program& program, CLI::App* group) {
  auto arguments = std::make_shared<PersonaArguments>();
  arguments->training.train = DefaultPersonaTraining();
  TrainOptions& train = arguments->training.train;
  CLI::App* command =
      program.Add(group, "train", "Train a persona's cores on seed text and count its style card",
                  [arguments](Output& output) { return RunTrain(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  command->add_option("--catalog", arguments->catalog, "Catalog to read")->required();
  command->add_option("--id", arguments->id, "Persona to make or train on")->required();
  command->add_option("--data", arguments->data, "Seed text (.txt, .jsonl); repeatable")
      ->required();
  command->add_option("--user", arguments->user, "Of a samples.jsonl only this user's lines");
  command->add_option("--out", arguments->out, "Catalog to write (default: the one read)");
  command->add_option("--epochs", train.epochs, "Passes")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--steps", train.max_steps, "Optimizer steps; 0: by epochs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--lr", train.learning_rate, "Learning rate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--batch", train.batch_size, "Documents a step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--seed", train.seed, "Of the order")->capture_default_str();
}

void AddCardAndList(Program& program, CLI::App* group) {
  auto card = std::make_shared<PersonaArguments>();
  CLI::App* command =
      program.Add(group, "card", "Style card of a text file or of a catalog's personas",
                  [card](Output& output) { return RunCard(*card, output); });
  command->add_option("file", card->file, "Text file (.txt, .jsonl); none: the catalog's personas");
  command->add_option("--catalog", card->catalog, "Catalog (its background is the measure)")
      ->required();
  command->add_option("--id", card->id, "Only this persona");
  command->add_option("--user", card->user, "Of a samples.jsonl only this user's lines");

  auto list = std::make_shared<PersonaArguments>();
  command = program.Add(group, "list", "Personas of a catalog",
                        [list](Output& output) { return RunList(*list, output); });
  list->signed_catalog.Declare(command);
}

}  // namespace

void AddPersonaCommands(Program& program) {
  CLI::App* group = program.AddGroup("persona", "Make and look at personas and catalogs");
  AddInit(program, group);
  AddTrain(program, group);
  AddCardAndList(program, group);
  AddPersonaTrustCommands(program, group);
}

}  // namespace lorikeet
