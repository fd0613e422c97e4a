#include "device/cli/vault_forget.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/personalization_common.h"
#include "device/cli/personalize_run.h"
#include "device/cli/vault_link.h"

namespace lorikeet {
namespace {

using nlohmann::json;

absl::StatusOr<std::vector<int64_t>> RecordsToForget(const ForgetArguments& arguments,
                                                     const Vault& vault) {
  std::vector<int64_t> ids = arguments.ids;
  if (!arguments.match.empty()) {
    ASSIGN_OR_RETURN(const auto hits, vault.Search(arguments.match, 1 << 30, std::nullopt));
    for (const SearchHit& hit : hits) ids.push_back(hit.record.id);
  }
  absl::Time before = absl::InfinitePast();
  if (!arguments.all_before.empty()) {
    std::string error;
    if (!absl::ParseTime("%Y-%m-%d", arguments.all_before, &before, &error)) {
      return UsageError(absl::StrCat("--all-before: expected a day like 2026-01-31, got '",
                                     arguments.all_before, "'"));
    }
  }
  ASSIGN_OR_RETURN(const auto records, vault.List());
  bool source_known = arguments.source.empty();
  for (const VaultRecord& record : records) {
    const bool of_source = !arguments.source.empty() && record.source == arguments.source;
    source_known |= of_source;
    if (arguments.all || of_source || record.added < before) ids.push_back(record.id);
  }
  if (!source_known) {
    return absl::NotFoundError(
        absl::StrCat("vault: there is no record of source '", arguments.source, "'"));
  }
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  return ids;
}

PersonalizeArguments RebuildArguments(const ForgetArguments& arguments,
                                      const VaultAdapter& adapter) {
  PersonalizeArguments rebuild;
  rebuild.engine.model = adapter.model;
  rebuild.engine.threads = arguments.threads;
  rebuild.catalog.path = adapter.catalog;
  rebuild.catalog.key = adapter.catalog_key;
  rebuild.out = adapter.path;
  rebuild.text.vault = arguments.vault;
  rebuild.options.train = DefaultPersonalTraining();
  rebuild.options.rank = std::max(1, adapter.residual_rank);
  rebuild.max_seconds = arguments.max_seconds;
  return rebuild;
}

// Selects, trains and judges with what text there still is, as if the rest had never been: the
// choice of a persona, too, must not depend on what was forgotten.
absl::StatusOr<json> Rebuild(const PersonalizeArguments& arguments, Output& output) {
  for (const std::string& file : {arguments.engine.model, arguments.catalog.path}) {
    if (!FileExists(file)) {
      return absl::NotFoundError(absl::StrCat("expected the file it was made with, ", file,
                                              ", which is not there any more"));
    }
  }
  ASSIGN_OR_RETURN(const PersonalizeInputs inputs, OpenInputs(arguments));
  ASSIGN_OR_RETURN(
      const PersonalizeOutcome outcome,
      PersonalizeFrom(arguments, inputs, history_kind::kRebuilt, /*energy=*/nullptr, output));
  const PersonalizeResult& result = outcome.result;
  const HistoryEntry& entry = outcome.entry;
  {
    const SystemClock clock;
    ASSIGN_OR_RETURN(History history, History::Open(arguments.out, &clock));
    RETURN_IF_ERROR(history.Append(entry, result.adapter));
  }
  RETURN_IF_ERROR(ConfirmVault(arguments));
  output.Line(
      absl::StrFormat("%s: rebuilt from %s on %d records without them, in %.1f s (%.1f CPU "
                      "s, %d steps): %s",
                      arguments.out, result.selection.chosen, entry.records.size(), entry.seconds,
                      entry.cpu_seconds, result.training.steps, result.verdict));
  return json{{"rebuilt", result.adapter.has_value()},
              {"persona", result.selection.chosen},
              {"records", entry.records.size()},
              {"steps", result.training.steps},
              {"seconds", entry.seconds},
              {"cpu_seconds", entry.cpu_seconds},
              {"verdict", result.verdict}};
}

// Every adapter that waits to be rebuilt.  One that cannot be is said and no longer waits.
absl::StatusOr<json> RebuildAll(const ForgetArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(auto vault, OpenVault(arguments.vault, /*create=*/false));
  ASSIGN_OR_RETURN(const auto adapters, vault->Adapters());
  vault.reset();  // not open while training
  json list = json::array();
  for (VaultAdapter adapter : adapters) {
    if (!adapter.rebuild) continue;
    auto rebuilt = Rebuild(RebuildArguments(arguments, adapter), output);
    if (absl::IsAborted(rebuilt.status()) || StopRequested()) {
      return absl::AbortedError(
          absl::StrCat(adapter.path, ": not rebuilt yet; vault forget without records goes on"));
    }
    if (!rebuilt.ok()) {
      output.Line(absl::StrCat(adapter.path,
                               ": deleted and not rebuilt: ", ToAbsl(Message(rebuilt.status()))));
      rebuilt = json{{"rebuilt", false}, {"verdict", std::string(Message(rebuilt.status()))}};
    }
    (*rebuilt)["adapter"] = adapter.path;
    list.push_back(*std::move(rebuilt));
    adapter.rebuild = false;
    ASSIGN_OR_RETURN(vault, OpenVault(arguments.vault, /*create=*/false));
    RETURN_IF_ERROR(vault->RememberAdapter(adapter));
    vault.reset();
  }
  return list;
}

// For --no-rebuild: nobody waits any more, also of earlier runs.
absl::Status DropRebuilds(const std::vector<PurgedAdapter>& purged, Vault* vault, Output& output) {
  ASSIGN_OR_RETURN(const auto adapters, vault->Adapters());
  for (VaultAdapter adapter : adapters) {
    const bool now = std::ranges::any_of(
        purged, [&](const PurgedAdapter& p) { return p.path == adapter.path && p.was_in_use; });
    if (!now && !adapter.rebuild) continue;
    adapter.rebuild = false;
    RETURN_IF_ERROR(vault->RememberAdapter(adapter));
    output.Line(absl::StrCat(adapter.path, ": not rebuilt; personalize makes a new one"));
  }
  return absl::OkStatus();
}

}  // namespace

void ForgetArguments::Declare(CLI::App* command) {
  command->add_option("ids,--id", ids, "Record numbers; none: finish what was left to do");
  command->add_option("--match", match, "Every record with one of these words");
  command->add_option("--source", source, "Every record of this source");
  command->add_option("--all-before", all_before,
                      "Every record added before this day (YYYY-MM-DD, UTC)");
  command->add_flag("--all", all, "Everything");
  command->add_flag("--rebuild,!--no-rebuild", rebuild,
                    "Make adapters that knew the records again without them (default), or not");
  command->add_option("--max-seconds", max_seconds, "Longest training of one rebuilt adapter")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--threads", threads, "0: all")->check(CLI::NonNegativeNumber);
}

absl::Status RunForget(const ForgetArguments& arguments, Output& output) {
  const SystemClock clock;
  json document;
  {
    ASSIGN_OR_RETURN(const auto vault, OpenVault(arguments.vault, /*create=*/false));
    ASSIGN_OR_RETURN(const auto ids, RecordsToForget(arguments, *vault));
    const absl::Status forgotten = vault->Forget(ids);
    if (!forgotten.ok() && !absl::IsUnavailable(forgotten)) return forgotten;
    if (!ids.empty()) {
      output.Line(absl::StrCat(
          "forgot ", ids.size(), ids.size() == 1 ? " record" : " records",
          forgotten.ok() ? ": gone from the vault and its journal" : ": gone from the vault"));
    }
    ASSIGN_OR_RETURN(const auto unsettled, vault->Unsettled());
    const size_t earlier = unsettled.size() > ids.size() ? unsettled.size() - ids.size() : 0;
    if (earlier > 0) {
      output.Line(absl::StrCat(earlier, " more were forgotten or have expired before"));
    }
    ASSIGN_OR_RETURN(const auto purged, PurgeAdapters(vault.get(), &clock, arguments.rebuild));
    document["forgotten"] = ids;
    document["adapters"] = ShowPurged(purged, output);
    if (!arguments.rebuild) RETURN_IF_ERROR(DropRebuilds(purged, vault.get(), output));
    RETURN_IF_ERROR(forgotten);  // adapters first: sealed copies in a journal are the lesser worry
  }
  document["rebuilt"] = json::array();
  if (arguments.rebuild) {
    ASSIGN_OR_RETURN(document["rebuilt"], RebuildAll(arguments, output));
  }
  if (document["forgotten"].empty() && document["adapters"].empty() &&
      document["rebuilt"].empty()) {
    output.Line(
        "nothing to forget and nothing left to do (records: --id, --match, --source, "
        "--all-before, --all)");
  }
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

}  // namespace lorikeet
