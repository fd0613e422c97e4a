#include "device/cli/personalize_run.h"

#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "device/cli/personalization_common.h"
#include "device/personalization/history_entry.h"
#include "device/personalization/stage_meter.h"

namespace lorikeet {
namespace {

std::string Absolute(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

}  // namespace

void FillOrigin(const PersonalizeArguments& arguments, const std::vector<int64_t>& records,
                HistoryEntry* entry) {
  entry->model_path = Absolute(arguments.engine.model);
  entry->catalog_path = Absolute(arguments.catalog.path);
  entry->vault_dir = Absolute(arguments.text.vault.dir);
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

absl::Status RunPersonalize(const PersonalizeArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(PersonalizeOptions options, PersonalizeOptionsOf(arguments));
  ASSIGN_OR_RETURN(const OwnerText text, ReadOwnerText(arguments.text));
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(arguments.catalog));
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  const SystemClock clock;
  ASSIGN_OR_RETURN(History history, History::Open(arguments.out, &clock));
  if (const HistoryEntry* current = history.Current()) {
    ASSIGN_OR_RETURN(options.existing, history.Load(*current));
  }
  const auto energy = MakeEnergyMeter();
  StageMeter meter(energy.get());
  const StageCallback show = ShowStages(output);
  const auto stage = [&](std::string_view name) {
    meter.Begin(name);
    show(name);
  };
  ASSIGN_OR_RETURN(const PersonalizeResult result,
                   Personalize(engine.model(), engine.pool(), clock, catalog, text, options, stage,
                               TrainingProgress(output)));
  meter.End();
  HistoryEntry entry = MakeHistoryEntry(history_kind::kPersonalized, result, catalog);
  FillOrigin(arguments, text.record_ids, &entry);
  AddCosts(meter.costs(), &entry);
  RETURN_IF_ERROR(history.Append(std::move(entry), result.adapter));
  PersonalReport report{.catalog = &catalog,
                        .result = &result,
                        .samples = {},
                        .stages = meter.costs(),
                        .energy_source = std::string(energy->source()),
                        .model_path = arguments.engine.model,
                        .catalog_path = arguments.catalog.path,
                        .adapter_path = arguments.out,
                        .undo_command = UndoCommand(history),
                        .time = {}};
  RETURN_IF_ERROR(WriteReport(arguments.report, {&engine, &text, &options}, &report));

  if (!result.notice.empty()) output.Line(result.notice + "\n");
  PrintSelection(result.selection, output);
  output.Line(absl::StrCat("\ntrained ", result.training.steps, " steps on ",
                           result.training.tokens, " tokens (", result.training.stopped_because,
                           ")"));
  output.Line(result.verdict);
  output.Line(ServingLine(history));
  nlohmann::json document = PersonalizeJson(result, catalog);
  document["version"] = history.entries().back().number;
  document["in_use"] = history.entries().back().in_use;
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

}  // namespace lorikeet
