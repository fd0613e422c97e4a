#include "device/cli/personalize_incremental.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/personalization_common.h"
#include "device/cli/personalize_run.h"
#include "device/cli/vault_link.h"
#include "device/personalization/drift.h"
#include "device/personalization/history_entry.h"
#include "device/personalization/incremental.h"
#include "device/personalization/stage_meter.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// The entry in use, if it was trained from this vault.  Without a lock: only to decide.
absl::StatusOr<std::optional<HistoryEntry>> LastFromVault(const PersonalizeArguments& arguments) {
  const std::optional<HistoryEntry> none;
  if (arguments.text.vault.dir.empty() || !History::Exists(arguments.out)) return none;
  ASSIGN_OR_RETURN(const auto entries, History::Read(arguments.out));
  if (entries.empty()) return none;
  for (const HistoryEntry& entry : entries) {
    if (entry.number != entries.back().in_use) continue;
    if (entry.vault_dir != AbsolutePath(arguments.text.vault.dir) || entry.records.empty() ||
        entry.residual_rank == 0) {
      return none;
    }
    return entry;
  }
  return none;
}

json DriftJson(const Drift& drift) {
  return {{"measured", drift.measured},
          {"noticed", drift.noticed},
          {"distance", drift.distance},
          {"chance", drift.chance},
          {"persona", drift.persona},
          {"closest", drift.closest},
          {"persona_distance", drift.persona_distance},
          {"closest_distance", drift.closest_distance},
          {"words", drift.words}};
}

json SideJson(const IncrementalSide& side) {
  return {
      {"base", side.base}, {"before", side.before}, {"after", side.after}, {"tokens", side.tokens}};
}

HistoryEntry EntryOf(const PersonalizeArguments& arguments, const HistoryEntry& last,
                     const IncrementalResult& result, const Drift& drift,
                     const IncrementalText& text) {
  HistoryEntry entry;
  entry.kind = history_kind::kIncremental;
  entry.outcome = OutcomeName(result.kept ? Outcome::kKept : Outcome::kRolledBack);
  entry.verdict = result.verdict;
  if (drift.noticed) absl::StrAppend(&entry.verdict, ".  ", drift.words);
  entry.persona = last.persona;
  entry.residual_rank = last.residual_rank;
  const double known = static_cast<double>(result.known.tokens);
  const double fresh = static_cast<double>(result.fresh.tokens);
  const double all = std::max(1.0, known + fresh);
  const auto mean = [&](double of_known, double of_fresh) {
    return (known * of_known + fresh * of_fresh) / all;
  };
  entry.losses.base = mean(result.known.base, result.fresh.base);
  entry.losses.in_use = mean(result.known.before, result.fresh.before);
  entry.losses.personalized = mean(result.known.after, result.fresh.after);
  entry.losses.tokens = result.known.tokens + result.fresh.tokens;
  FillOrigin(arguments, text.records, &entry);
  entry.base_fingerprint = last.base_fingerprint;
  entry.catalog_hash = last.catalog_hash;
  return entry;
}

void NothingNew(const HistoryEntry& last, const IncrementalText& text, Output& output) {
  output.Line(absl::StrCat("no new text since version ", last.number, " (", text.known.size(),
                           " records learned, ", text.judge_known.size(),
                           " held out): it stays.  personalize --reselect starts again from a "
                           "persona."));
  output.SetJson({{"outcome", "nothing new"}, {"version", last.number}, {"in_use", last.number}});
}

// The options of a first training, where the command line did not change them, become those of an
// increment.
IncrementalOptions OptionsOf(const PersonalizeOptions& asked) {
  IncrementalOptions options;
  const TrainOptions usual = DefaultPersonalTraining();
  options.split = asked.split;
  options.train = asked.train;
  const TrainOptions increment = DefaultIncrementalTraining();
  if (asked.train.epochs == usual.epochs) options.train.epochs = increment.epochs;
  if (asked.train.learning_rate == usual.learning_rate) {
    options.train.learning_rate = increment.learning_rate;
  }
  if (asked.train.patience == usual.patience) options.train.patience = increment.patience;
  options.rank = asked.rank;
  options.alpha = asked.alpha;
  options.modules = asked.modules;
  options.min_gain = asked.judge.min_gain;
  return options;
}

void Show(const IncrementalResult& result, const Drift& drift, const History& history,
          Output& output) {
  output.Line(absl::StrFormat(
      "went on from the last adapter: %d steps, %d tokens of new text and %d of old in each pass "
      "(%s), %.1f CPU s",
      result.training.steps, result.fresh_tokens, result.replay_tokens,
      result.training.stopped_because, result.cpu_seconds));
  if (result.way < 1) {
    output.Line(absl::StrFormat("went %.0f %% of the way: all of it would have unlearned old text",
                                100 * result.way));
  }
  output.Line(result.verdict);
  output.Line(drift.words);
  output.Line(ServingLine(history));
  json document = TrainingJson(result.training);
  document.update({{"outcome", result.kept ? "kept" : "rolled back"},
                   {"verdict", result.verdict},
                   {"loss_base", history.entries().back().losses.base.value_or(0)},
                   {"loss_before", history.entries().back().losses.in_use.value_or(0)},
                   {"loss_after", history.entries().back().losses.personalized.value_or(0)},
                   {"old", SideJson(result.known)},
                   {"new", SideJson(result.fresh)},
                   {"new_tokens", result.fresh_tokens},
                   {"replay_tokens", result.replay_tokens},
                   {"way", result.way},
                   {"drift", DriftJson(drift)},
                   {"cpu_seconds", result.cpu_seconds},
                   {"version", history.entries().back().number},
                   {"in_use", history.entries().back().in_use}});
  output.SetJson(std::move(document));
}

}  // namespace

absl::StatusOr<bool> ContinuePersonal(const PersonalizeArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const std::optional<HistoryEntry> last, LastFromVault(arguments));
  if (!last) return false;
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  if (engine.model()->fingerprint() != last->base_fingerprint) return false;
  ASSIGN_OR_RETURN(const PersonalizeOptions asked, PersonalizeOptionsOf(arguments));
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(arguments.catalog));
  ASSIGN_OR_RETURN(const auto vault, OpenVault(arguments.text.vault, /*create=*/false));
  ASSIGN_OR_RETURN(std::vector<VaultDocument> records, vault->Records(Purpose::kTrain));
  const IncrementalText text = DivideRecords(std::move(records), last->records, last->time);
  if (text.fresh.empty()) {
    NothingNew(*last, text, output);
    return true;
  }
  const SystemClock clock;
  ASSIGN_OR_RETURN(History history, History::Open(arguments.out, &clock));
  if (history.Current() == nullptr || history.Current()->number != last->number) {
    return absl::AbortedError("another process changed the adapter just now: run this again");
  }
  ASSIGN_OR_RETURN(const PersonalAdapter adapter, history.Load(*history.Current()));
  StageMeter meter(nullptr);
  meter.Begin("training");
  const Drift drift = NoticeDrift(catalog, last->persona, text.known, text.fresh);
  ASSIGN_OR_RETURN(const IncrementalResult result,
                   TrainIncrement(engine.model(), engine.pool(), clock, adapter, text,
                                  OptionsOf(asked), TrainingProgress(output)));
  meter.End();
  HistoryEntry entry = EntryOf(arguments, *last, result, drift, text);
  AddCosts(meter.costs(), &entry);
  RETURN_IF_ERROR(history.Append(std::move(entry), result.adapter));
  Show(result, drift, history, output);
  return true;
}

}  // namespace lorikeet
