#include "device/cli/personalize_run.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "device/cli/personalization_common.h"
#include "device/cli/vault_link.h"
#include "device/personalization/history_entry.h"

namespace lorikeet {
namespace {

// The adapter in use, for the judge.
absl::StatusOr<std::optional<PersonalAdapter>> InUse(const PersonalizeArguments& arguments,
                                                     const Model& model, const History& history) {
  const HistoryEntry* current = history.Current();
  if (current == nullptr) return std::optional<PersonalAdapter>();
  if (!current->base_fingerprint.empty() && current->base_fingerprint != model.fingerprint()) {
    return absl::FailedPreconditionError(absl::StrCat(
        arguments.out, ": expected the base of the adapter in use, ",
        current->model_path.empty() ? current->base_fingerprint : current->model_path, ", got ",
        arguments.engine.model, "; personalize --rebase moves to another base, if that is better"));
  }
  ASSIGN_OR_RETURN(PersonalAdapter adapter, history.Load(*current));
  return std::optional<PersonalAdapter>(std::move(adapter));
}

}  // namespace

void FillOrigin(const PersonalizeArguments& arguments, const std::vector<int64_t>& records,
                HistoryEntry* entry) {
  entry->model_path = AbsolutePath(arguments.engine.model);
  entry->catalog_path = AbsolutePath(arguments.catalog.path);
  entry->vault_dir = AbsolutePath(arguments.text.vault.dir);
  entry->records = records;
}

std::string UndoCommand(const History& history) {
  const HistoryEntry& last = history.entries().back();
  if (last.before == last.in_use) return "";
  return absl::StrCat("lorikeet personalize --rollback --out ", history.out_path());
}

std::string ServingLine(const History& history) {
  const HistoryEntry* current = history.Current();
  const std::string what = current == nullptr
                               ? "the bare base serves"
                               : absl::StrCat("version ", current->number, " serves");
  const std::string undo = UndoCommand(history);
  return undo.empty() ? absl::StrCat(what, " as before") : absl::StrCat(what, " now; back: ", undo);
}

absl::StatusOr<PersonalizeInputs> OpenInputs(const PersonalizeArguments& arguments) {
  ASSIGN_OR_RETURN(PersonalizeOptions options, PersonalizeOptionsOf(arguments));
  ASSIGN_OR_RETURN(OwnerText text, ReadOwnerText(arguments.text));
  ASSIGN_OR_RETURN(Catalog catalog, OpenCatalog(arguments.catalog));
  ASSIGN_OR_RETURN(Engine engine, Engine::Open(arguments.engine));
  return PersonalizeInputs{.options = std::move(options),
                           .text = std::move(text),
                           .catalog = std::move(catalog),
                           .engine = std::move(engine)};
}

absl::StatusOr<PersonalizeOutcome> PersonalizeFrom(const PersonalizeArguments& arguments,
                                                   const PersonalizeInputs& inputs,
                                                   std::string_view kind, EnergyMeter* energy,
                                                   const Output& output) {
  const SystemClock clock;
  StageMeter meter(energy);
  const StageCallback show = ShowStages(output);
  const auto stage = [&](std::string_view name) {
    meter.Begin(name);
    show(name);
  };
  PersonalizeOutcome outcome;
  ASSIGN_OR_RETURN(outcome.result,
                   Personalize(inputs.engine.model(), inputs.engine.pool(), clock, inputs.catalog,
                               inputs.text, inputs.options, stage, TrainingProgress(output)));
  meter.End();
  outcome.costs = meter.costs();
  outcome.entry = MakeHistoryEntry(kind, outcome.result, inputs.catalog);
  FillOrigin(arguments, inputs.text.record_ids, &outcome.entry);
  AddCosts(outcome.costs, &outcome.entry);
  return outcome;
}

absl::Status RunPersonalize(const PersonalizeArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(PersonalizeInputs inputs, OpenInputs(arguments));
  const SystemClock clock;
  ASSIGN_OR_RETURN(History history, History::Open(arguments.out, &clock));
  ASSIGN_OR_RETURN(inputs.options.existing, InUse(arguments, *inputs.engine.model(), history));
  const auto energy = MakeEnergyMeter();
  ASSIGN_OR_RETURN(
      const PersonalizeOutcome outcome,
      PersonalizeFrom(arguments, inputs, history_kind::kPersonalized, energy.get(), output));
  const PersonalizeResult& result = outcome.result;
  RETURN_IF_ERROR(history.Append(outcome.entry, result.adapter));
  PersonalReport report{.catalog = &inputs.catalog,
                        .result = &result,
                        .samples = {},
                        .stages = outcome.costs,
                        .energy_source = std::string(energy->source()),
                        .model_path = arguments.engine.model,
                        .catalog_path = arguments.catalog.path,
                        .adapter_path = arguments.out,
                        .undo_command = UndoCommand(history),
                        .time = {}};
  RETURN_IF_ERROR(
      WriteReport(arguments.report, {&inputs.engine, &inputs.text, &inputs.options}, &report));

  if (!result.notice.empty()) output.Line(result.notice + "\n");
  PrintSelection(result.selection, output);
  output.Line(absl::StrCat("\ntrained ", result.training.steps, " steps on ",
                           result.training.tokens, " tokens (", result.training.stopped_because,
                           ")"));
  output.Line(result.verdict);
  output.Line(ServingLine(history));
  nlohmann::json document = PersonalizeJson(result, inputs.catalog);
  document["version"] = history.entries().back().number;
  document["in_use"] = history.entries().back().in_use;
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

}  // namespace lorikeet
