#include "device/personalization/forgetting.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/history.h"

namespace lorikeet {
namespace {

bool Overlap(const std::vector<int64_t>& some, const std::vector<int64_t>& ascending) {
  return std::ranges::any_of(some,
                             [&](int64_t id) { return std::ranges::binary_search(ascending, id); });
}

absl::StatusOr<PurgedAdapter> PurgeOne(Vault* vault, const Clock* clock, VaultAdapter adapter,
                                       const std::vector<int64_t>& ids, bool rebuild) {
  PurgedAdapter purged{.path = adapter.path};
  if (!History::Exists(adapter.path) && !FileExists(adapter.path)) {
    purged.gone = true;
    RETURN_IF_ERROR(vault->DropAdapter(adapter.path));
    return purged;
  }
  auto history = History::Open(adapter.path, clock);
  if (absl::IsAlreadyExists(history.status())) {
    return absl::UnavailableError(
        absl::StrCat("the records are gone, but an adapter trained on them is in use by another "
                     "process; run this again when that is done: ",
                     ToAbsl(Message(history.status()))));
  }
  RETURN_IF_ERROR(history.status());
  const HistoryEntry* current = history->Current();
  const bool in_use = current != nullptr &&
                      (current->kind == history_kind::kFound || Overlap(ids, current->records));
  if (in_use && rebuild && !adapter.rebuild) {
    adapter.rebuild = true;  // written first: after the purge nothing else would say so
    RETURN_IF_ERROR(vault->RememberAdapter(adapter));
  }
  ASSIGN_OR_RETURN(PurgedVersions versions, history->PurgeRecords(ids));
  purged.versions = std::move(versions.versions);
  purged.was_in_use = versions.was_in_use;
  return purged;
}

}  // namespace

absl::StatusOr<std::vector<PurgedAdapter>> PurgeAdapters(Vault* vault, const Clock* clock,
                                                         bool rebuild) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> ids, vault->Unsettled());
  std::vector<PurgedAdapter> result;
  if (ids.empty()) return result;
  ASSIGN_OR_RETURN(const std::vector<VaultAdapter> adapters, vault->Adapters());
  for (const VaultAdapter& adapter : adapters) {
    ASSIGN_OR_RETURN(PurgedAdapter purged, PurgeOne(vault, clock, adapter, ids, rebuild));
    result.push_back(std::move(purged));
  }
  RETURN_IF_ERROR(vault->Settle(ids));
  return result;
}

absl::Status CheckStillKnown(Vault* vault, const Clock* clock, const std::string& path,
                             const std::vector<int64_t>& records) {
  ASSIGN_OR_RETURN(const std::vector<VaultRecord> present, vault->List());
  std::vector<int64_t> gone;
  for (const int64_t id : records) {
    if (!std::ranges::binary_search(present, id, {}, &VaultRecord::id)) gone.push_back(id);
  }
  if (gone.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(History history, History::Open(path, clock));
  RETURN_IF_ERROR(history.PurgeRecords(gone).status());
  return absl::AbortedError(
      absl::StrCat(gone.size(),
                   " of the records were forgotten while the adapter was trained on them; it was "
                   "deleted: personalize again"));
}

absl::StatusOr<std::string> UnsettledNotice(const Vault& vault, const std::string& vault_dir,
                                            const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> ids, vault.Unsettled());
  if (ids.empty()) return std::string();
  ASSIGN_OR_RETURN(const std::vector<HistoryEntry> entries, History::Read(path));
  int64_t shaped = 0;
  for (const int64_t id : ids) {
    shaped += std::ranges::any_of(entries, [&](const HistoryEntry& entry) {
      return !entry.adapter_file.empty() && std::ranges::binary_search(entry.records, id);
    });
  }
  if (shaped == 0) return std::string();
  return absl::StrCat("trained on ", shaped,
                      " records that have since been forgotten or have expired; lorikeet vault "
                      "forget --vault ",
                      vault_dir, " deletes and rebuilds what they shaped");
}

}  // namespace lorikeet
