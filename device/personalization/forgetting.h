// Adapters after records were forgotten or expired: what they shaped goes, in every kept version.
//
// An adapter cannot unlearn a text, so it is deleted and made again without it, from the persona,
// which is public and holds nothing of the owner.  The order is: text first (Vault::Forget), then
// adapters (here), then the new one (the caller).  What is still to be done stands in the vault, so
// a run that was killed is finished by the next.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_FORGETTING_H_
#define LORIKEET_DEVICE_PERSONALIZATION_FORGETTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "device/vault/vault.h"

namespace lorikeet {

// What became of one adapter.
struct PurgedAdapter {
  std::string path;
  std::vector<int> versions = {};  // of its history: deleted
  bool was_in_use = false;    // one of them served; now the bare base does
  bool gone = false;          // neither adapter nor history is at the path any more
};

// Deletes every version of every adapter the vault remembers that one of its Unsettled records
// shaped; those that were in use are marked in the vault to be rebuilt if `rebuild`.  Nothing to do
// where nothing is unsettled.
// UNAVAILABLE: an adapter is being changed by another process: run again.
absl::StatusOr<std::vector<PurgedAdapter>> PurgeAdapters(Vault* vault, const Clock* clock,
                                                         bool rebuild);

// To be called when an adapter trained on `records` has just been put into use: if one of them was
// forgotten in the meantime, the adapter is taken out of use again.  ABORTED then.
absl::Status CheckStillKnown(Vault* vault, const Clock* clock, const std::string& path,
                             const std::vector<int64_t>& records);

// "trained on 3 records that have since been forgotten or have expired" with the command that
// finishes the job; empty where all is settled.  `path`: of the adapter, as History has it.
absl::StatusOr<std::string> UnsettledNotice(const Vault& vault, const std::string& vault_dir,
                                            const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_FORGETTING_H_
