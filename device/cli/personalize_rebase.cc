#include "device/cli/personalize_rebase.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/personalization_common.h"
#include "device/cli/personalize_run.h"
#include "device/personalization/history_entry.h"
#include "device/personalization/rebase.h"

namespace lorikeet {
namespace {

// The entry that says which base serves: that of the adapter in use, else the last that names one.
const HistoryEntry* OldSide(const History& history) {
  if (const HistoryEntry* current = history.Current()) return current;
  for (auto entry = history.entries().rbegin(); entry != history.entries().rend(); ++entry) {
    if (!entry->model_path.empty()) return &*entry;
  }
  return nullptr;
}

struct OldBase {
  std::shared_ptr<const Model> model;  // null: gone
  std::string note;                    // why it is gone
};

absl::StatusOr<OldBase> OpenOldBase(const PersonalizeArguments& arguments,
                                    const HistoryEntry& entry) {
  const bool named = !arguments.from_model.empty();
  const std::string path = named ? arguments.from_model : entry.model_path;
  OldBase old;
  if (path.empty()) {
    old.note = "the history does not say where the old base is (--from-model says it)";
    return old;
  }
  absl::StatusOr<std::shared_ptr<const Model>> model = Model::Load(path);
  if (!model.ok()) {
    if (named) return model.status();
    old.note = absl::StrCat("the old base cannot be read: ", model.status().message());
    return old;
  }
  if (!entry.base_fingerprint.empty() && (*model)->fingerprint() != entry.base_fingerprint) {
    const std::string what =
        absl::StrCat(path, ": expected the base in use, ", entry.base_fingerprint, ", got ",
                     (*model)->fingerprint());
    if (named) return absl::FailedPreconditionError(what);
    old.note = absl::StrCat("the old base is gone: ", what);
    return old;
  }
  old.model = *std::move(model);
  return old;
}

HistoryEntry EntryOf(const RebaseResult& result, const Catalog& catalog) {
  HistoryEntry entry = MakeHistoryEntry(history_kind::kRebased, result.trained, catalog);
  entry.verdict = result.verdict;
  if (!result.keep_new) entry.outcome = OutcomeName(Outcome::kRolledBack);
  if (result.keep_new && !result.trained.adapter) entry.outcome = "base";
  entry.losses.bytes = result.judge_bytes;
  if (result.compared) {
    // In nats a token of the new base, like the other losses.
    const PersonalizeResult& trained = result.trained;
    const double side = !trained.adapter                           ? trained.loss_base
                        : trained.outcome == Outcome::kPersonaOnly ? trained.loss_persona
                                                                   : trained.loss_personalized;
    entry.losses.in_use = side * result.old_nats_per_byte / result.new_nats_per_byte;
  }
  return entry;
}

void Print(const RebaseResult& result, const Catalog& catalog, const History& history,
           const std::string& note, Output& output) {
  PrintSelection(result.trained.selection, output);
  output.Line(absl::StrCat("\ntrained ", result.trained.training.steps, " steps on ",
                           result.trained.training.tokens, " tokens (",
                           result.trained.training.stopped_because, ")"));
  output.Line(absl::StrCat("on the new base: ", result.trained.verdict));
  if (!note.empty()) output.Line(note);
  output.Line(result.verdict);
  output.Line(ServingLine(history));
  nlohmann::json document = PersonalizeJson(result.trained, catalog);
  document["verdict"] = result.verdict;
  document["compared"] = result.compared;
  document["kept_new"] = result.keep_new;
  if (result.compared) {
    constexpr double kBitsPerNat = 1.4426950408889634;
    document["bits_per_byte_old"] = result.old_nats_per_byte * kBitsPerNat;
    document["bits_per_byte_new"] = result.new_nats_per_byte * kBitsPerNat;
    document["p_value"] = result.comparison.p_value;
    document["judge_bytes"] = result.judge_bytes;
  }
  document["version"] = history.entries().back().number;
  document["in_use"] = history.entries().back().in_use;
  output.SetJson(std::move(document));
}

}  // namespace

absl::Status RunRebase(const PersonalizeArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const PersonalizeOptions options, PersonalizeOptionsOf(arguments));
  if (!FileExists(arguments.out) && !History::Exists(arguments.out)) {
    return absl::NotFoundError(
        absl::StrCat(arguments.out,
                     ": expected an adapter to move to the new base, found none: personalize "
                     "without --rebase"));
  }
  RebaseInput input;
  ASSIGN_OR_RETURN(input.text, ReadOwnerText(arguments.text));
  const std::vector<int64_t> record_ids = input.text.record_ids;
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(arguments.catalog));
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  const SystemClock clock;
  ASSIGN_OR_RETURN(History history, History::Open(arguments.out, &clock));
  input.new_model = engine.model();
  input.catalog = &catalog;
  std::string note;
  if (const HistoryEntry* entry = OldSide(history)) {
    if (entry->base_fingerprint == engine.model()->fingerprint()) {
      return absl::FailedPreconditionError(absl::StrCat(
          arguments.engine.model, " is the base in use: expected another one with --rebase"));
    }
    ASSIGN_OR_RETURN(OldBase old, OpenOldBase(arguments, *entry));
    input.old_model = std::move(old.model);
    note = std::move(old.note);
  }
  if (const HistoryEntry* current = history.Current()) {
    ASSIGN_OR_RETURN(input.old_adapter, history.Load(*current));
    if (input.old_model)
      RETURN_IF_ERROR(input.old_model->CheckAdapter(input.old_adapter->adapter()));
  }
  StageMeter meter(nullptr);
  const StageCallback show = ShowStages(output);
  const auto stage = [&](std::string_view name) {
    meter.Begin(name);
    show(name);
  };
  ASSIGN_OR_RETURN(const RebaseResult result, Rebase(std::move(input), engine.pool(), clock,
                                                     options, stage, TrainingProgress(output)));
  meter.End();
  HistoryEntry entry = EntryOf(result, catalog);
  FillOrigin(arguments, record_ids, &entry);
  AddCosts(meter.costs(), &entry);
  if (result.keep_new && !result.trained.adapter) {
    RETURN_IF_ERROR(history.AppendBareBase(std::move(entry)));
  } else {
    RETURN_IF_ERROR(
        history.Append(std::move(entry), result.keep_new ? result.trained.adapter : std::nullopt));
  }
  Print(result, catalog, history, note, output);
  return absl::OkStatus();
}

}  // namespace lorikeet
