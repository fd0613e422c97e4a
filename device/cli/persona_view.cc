#include "device/cli/persona_view.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/catalog_options.h"
#include "device/cli/engine.h"
#include "device/cli/owner_text.h"
#include "device/personalization/explainer.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr size_t kListAdjectives = 3, kCardAdjectives = 6;
constexpr double kLeastWeight = 0.05;  // an adjective of less is not worth a word
constexpr size_t kCardTraits = 5, kCardForms = 6;
constexpr double kLeastTrait = 0.2, kLeastForm = 1.0;

struct CardArguments {
  EngineArguments engine;
  CatalogOptions catalog;
  std::string id, file, user;
};

// What a persona adds to the catalog file.
size_t PersonaBytes(const Persona& persona) {
  return persona.id.size() + persona.cores.size() * sizeof(float) +
         StyleCardToJson(persona.card).size();
}

json ExplanationJson(const StyleCard& card, const ExplanationAxes& axes) {
  json words = json::object();
  for (size_t i = 0; i < card.explanation.size(); ++i) words[axes.words[i]] = card.explanation[i];
  return words;
}

// Distance from neutral text in units of its spread.
std::vector<double> FormScores(const StyleCard& card, const StyleBackground& background) {
  std::vector<double> scores(card.statistics.form.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    scores[i] = (card.statistics.form[i] - background.form_center[i]) / background.form_spread[i];
  }
  return scores;
}

// "commas -2.1, richness +1.4": the largest by magnitude.
std::string Largest(std::span<const double> values, std::span<const std::string_view> names,
                    size_t count, double least) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, [&](size_t a, size_t b) { return std::abs(values[a]) > std::abs(values[b]); });
  std::string list;
  for (size_t k = 0; k < std::min(count, order.size()); ++k) {
    const size_t i = order[k];
    if (std::abs(values[i]) < least) break;
    std::string name(names[i]);
    std::ranges::replace(name, '_', ' ');
    absl::StrAppend(&list, list.empty() ? "" : ", ", name, absl::StrFormat(" %+.1f", values[i]));
  }
  return list.empty() ? "nothing out of the ordinary" : list;
}

void PrintCard(std::string_view name, const StyleCard& card, const Catalog& catalog,
               Output& output) {
  const StyleStatistics& statistics = card.statistics;
  output.Line(absl::StrFormat("%s: %s", ToAbsl(name), card.sentence));
  output.Line(absl::StrFormat("  counted      %d words in %d entries", statistics.word_count,
                              statistics.document_count));
  if (!card.explanation.empty()) {
    const std::string words = Adjectives(card, catalog.axes, kCardAdjectives);
    output.Line(absl::StrFormat("  adjectives   %s (residual %.2f)", words.empty() ? "none" : words,
                                card.explanation_residual));
  }
  output.Line(
      absl::StrCat("  traits       ", Largest(StyleTraits(statistics, catalog.background),
                                              StyleTraitNames(), kCardTraits, kLeastTrait)));
  output.Line(absl::StrCat("  statistics   ", Largest(FormScores(card, catalog.background),
                                                      StyleFormNames(), kCardForms, kLeastForm)));
}

// How to read the cards, and why one lacks adjectives.
void PrintCardNotes(const CardArguments& arguments, const Catalog& catalog, Output& output) {
  if (catalog.axes.empty()) {
    output.Line("The catalog has no axes, so nothing is explained in adjectives.");
  } else if (!arguments.file.empty() && arguments.engine.model.empty()) {
    output.Line("With --model MODEL the model itself says what the text is like, in adjectives.");
  } else {
    output.Line(
        "Adjectives: how the model's hidden states differ from those of neutral text; the residual "
        "is the share that no adjective says.");
  }
  output.Line("Statistics: in spreads of neutral text, + more, - less.");
}

json CardJson(std::string_view name, const StyleCard& card, const Catalog& catalog) {
  json document = json::parse(StyleCardToJson(card));
  document["id"] = name;
  document["explanation"] = ExplanationJson(card, catalog.axes);
  const std::vector<double> traits = StyleTraits(card.statistics, catalog.background);
  const std::vector<double> scores = FormScores(card, catalog.background);
  json named_traits = json::object(), named_forms = json::object();
  for (size_t i = 0; i < traits.size(); ++i) {
    named_traits[std::string(StyleTraitNames()[i])] = traits[i];
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    named_forms[std::string(StyleFormNames()[i])] = {{"value", card.statistics.form[i]},
                                                     {"score", scores[i]}};
  }
  document["traits"] = std::move(named_traits);
  document["form"] = std::move(named_forms);
  return document;
}

absl::Status ExplainFile(const CardArguments& arguments, const Catalog& catalog,
                         std::span<const std::string> documents, StyleCard* card) {
  if (catalog.axes.empty() || arguments.engine.model.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  if (engine.model()->fingerprint() != catalog.base_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat("expected the catalog's base ",
                                                      catalog.base_fingerprint, ", got the model ",
                                                      engine.model()->fingerprint()));
  }
  ASSIGN_OR_RETURN(const auto explainer,
                   Explainer::Create(engine.model(), engine.pool(), catalog.axes));
  std::vector<PrivateText> texts;
  for (const std::string& document : documents) texts.emplace_back(document);
  const std::vector<Sequence> sequences =
      TokenizeDocuments(*engine.model(), texts, engine.model()->config().context_length);
  ASSIGN_OR_RETURN(Explanation explanation, explainer->Explain(sequences));
  card->explanation = std::move(explanation.weights);
  card->explanation_residual = explanation.residual;
  return absl::OkStatus();
}

// The card of a text file against a catalog's background, or the cards of a catalog.
absl::Status RunCard(const CardArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(arguments.catalog));
  if (!arguments.file.empty()) {
    ASSIGN_OR_RETURN(const TextFile file, ReadTextFile(arguments.file, arguments.user));
    const std::vector<std::string_view> views(file.documents.begin(), file.documents.end());
    StyleCard card = MakeStyleCard(CountStyle(views), catalog.background);
    RETURN_IF_ERROR(ExplainFile(arguments, catalog, file.documents, &card));
    PrintCard(arguments.file, card, catalog, output);
    PrintCardNotes(arguments, catalog, output);
    output.SetJson(CardJson(arguments.file, card, catalog));
    return absl::OkStatus();
  }
  json cards = json::array();
  for (const Persona& persona : catalog.personas) {
    if (!arguments.id.empty() && persona.id != arguments.id) continue;
    PrintCard(persona.id, persona.card, catalog, output);
    cards.push_back(CardJson(persona.id, persona.card, catalog));
  }
  if (cards.empty() && !arguments.id.empty()) {
    return absl::NotFoundError(absl::StrCat(arguments.catalog.path, ": no persona ", arguments.id));
  }
  if (cards.empty()) output.Line("no personas");
  if (!cards.empty()) PrintCardNotes(arguments, catalog, output);
  output.SetJson({{"cards", std::move(cards)}});
  return absl::OkStatus();
}

absl::Status RunList(const CatalogOptions& options, Output& output) {
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(options));
  PrintCatalog(catalog, output);
  output.SetJson(CatalogJson(catalog));
  return absl::OkStatus();
}

}  // namespace

std::string Adjectives(const StyleCard& card, const ExplanationAxes& axes, size_t count) {
  std::string list;
  for (const size_t i : StrongestWords(card.explanation, count, kLeastWeight)) {
    absl::StrAppend(&list, list.empty() ? "" : ", ", axes.words[i],
                    absl::StrFormat(" %.2f", card.explanation[i]));
  }
  return list;
}

json CatalogJson(const Catalog& catalog) {
  json personas = json::array();
  for (const Persona& persona : catalog.personas) {
    personas.push_back({{"id", persona.id},
                        {"sentence", persona.card.sentence},
                        {"explanation", ExplanationJson(persona.card, catalog.axes)},
                        {"explanation_residual", persona.card.explanation_residual},
                        {"bytes", PersonaBytes(persona)}});
  }
  return {{"version", catalog.version},
          {"base_fingerprint", catalog.base_fingerprint},
          {"architecture", catalog.architecture},
          {"rank", catalog.rank},
          {"alpha", catalog.alpha},
          {"matrices", catalog.basis.size()},
          {"block_size", catalog.block_size()},
          {"hash", CatalogHash(catalog)},
          {"axes", catalog.axes.words},
          {"personas", std::move(personas)}};
}

void PrintCatalog(const Catalog& catalog, Output& output) {
  output.Line(
      absl::StrFormat("catalog version %d: %d personas, rank %d on %d matrices, %d numbers a "
                      "persona, %d adjectives",
                      catalog.version, catalog.personas.size(), catalog.rank, catalog.basis.size(),
                      catalog.block_size(), catalog.axes.words.size()));
  if (catalog.personas.empty()) return;
  const std::string nothing = "-";
  size_t id_width = 7, word_width = 10;
  std::vector<std::string> adjectives;
  for (const Persona& persona : catalog.personas) {
    adjectives.push_back(Adjectives(persona.card, catalog.axes, kListAdjectives));
    if (adjectives.back().empty()) adjectives.back() = nothing;
    id_width = std::max(id_width, persona.id.size());
    word_width = std::max(word_width, adjectives.back().size());
  }
  const auto row = [&](std::string_view id, std::string_view size, std::string_view words,
                       std::string_view sentence) {
    output.Line(absl::StrFormat("  %-*s  %7s  %-*s  %s", static_cast<int>(id_width), ToAbsl(id),
                                ToAbsl(size), static_cast<int>(word_width), ToAbsl(words),
                                ToAbsl(sentence)));
  };
  row("persona", "KiB", "adjectives", "writes");
  for (size_t i = 0; i < catalog.personas.size(); ++i) {
    const Persona& persona = catalog.personas[i];
    row(persona.id, absl::StrFormat("%.1f", static_cast<double>(PersonaBytes(persona)) / 1024),
        adjectives[i], persona.card.sentence);
  }
}

void AddPersonaViewCommands(Program& program, CLI::App* group) {
  auto card = std::make_shared<CardArguments>();
  CLI::App* command =
      program.Add(group, "card", "Style card of a text file or of a catalog's personas",
                  [card](Output& output) { return RunCard(*card, output); });
  command->add_option("file", card->file, "Text file (.txt, .jsonl); none: the catalog's personas");
  card->catalog.Declare(command);
  command->add_option("--id", card->id, "Only this persona");
  command->add_option("--user", card->user, "Of a samples.jsonl only this user's lines");
  command->add_option("--model", card->engine.model,
                      "The catalog's base: explains the text file in adjectives");
  card->engine.AddThreads(command);

  auto list = std::make_shared<CatalogOptions>();
  command = program.Add(group, "list", "Personas of a catalog",
                        [list](Output& output) { return RunList(*list, output); });
  list->Declare(command);
}

}  // namespace lorikeet
