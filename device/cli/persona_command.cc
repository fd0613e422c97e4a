// lorikeet persona init|train: catalogs and personas from public text.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/owner_text.h"
#include "device/cli/persona_trust_command.h"
#include "device/cli/persona_view.h"
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
  std::vector<std::string> data;
  std::string axes;  // file; empty: the built-in ones
  bool no_axes = false;
  std::string modules = "all";
  bool random_basis = false;
  BasisOptions basis;
  PersonaOptions training;
};

absl::Status RunInit(const PersonaArguments& arguments, Output& output) {
  BasisOptions options = arguments.basis;
  auto modules = ParseModules(arguments.modules);
  if (!modules.ok()) return UsageError(Message(modules.status()));
  options.modules = *std::move(modules);
  if (arguments.random_basis) options.method = BasisMethod::kRandom;
  if (arguments.no_axes) {
    options.axes.axes.clear();
  } else if (!arguments.axes.empty()) {
    ASSIGN_OR_RETURN(options.axes, ReadAxesDefinition(arguments.axes));
  }
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
  if (const std::string words = Adjectives(persona.card, catalog.axes, 4); !words.empty()) {
    output.Line(absl::StrFormat("to the model: %s", words));
  }
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
  CLI::Option* axes = command->add_option("--axes", arguments->axes,
                                          "Adjectives to explain personas by, and how they sound "
                                          "(TOML); default: built in");
  command->add_flag("--no-axes", arguments->no_axes, "No explanations: a smaller catalog")
      ->excludes(axes);
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

}  // namespace

void AddPersonaCommands(Program& program) {
  CLI::App* group = program.AddGroup("persona", "Make and look at personas and catalogs");
  AddInit(program, group);
  AddTrain(program, group);
  AddPersonaViewCommands(program, group);
  AddPersonaTrustCommands(program, group);
}

}  // namespace lorikeet
