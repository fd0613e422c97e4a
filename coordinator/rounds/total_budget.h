// One budget over all tasks of a base: what a device that was in every round has been charged.
//
// Read from the store: the description that each spent round opened with, whose Renyi curve adds to
// the others', whatever their noise.  Rounds of a sweep are one charge (a device is in one of them
// at most), and so are all rounds of a task with central noise.
#ifndef LORIKEET_COORDINATOR_ROUNDS_TOTAL_BUDGET_H_
#define LORIKEET_COORDINATOR_ROUNDS_TOTAL_BUDGET_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/dp/ledger.h"
#include "common/dp/rdp.h"
#include "common/wire/round.h"
#include "coordinator/rounds/task_config.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

struct TotalSpent {
  PrivacyLedger composed;                   // releases: charges
  std::map<std::string, int64_t> tasks;     // charges by task; those with none are left out
  std::map<std::string, RdpCurve> central;  // charged once: task -> its curve
};
// Of the tasks of one base, or of all tasks if it is empty.  DATA_LOSS: a spent round has no
// description.
absl::StatusOr<TotalSpent> SpentOverTasks(Store* store, std::string_view base_fingerprint);

// Of one task alone.
absl::StatusOr<PrivacyLedger> SpentByTask(Store* store, const TaskConfig& config);

// Changes whenever some round of some task begins or ceases to count.
absl::StatusOr<Hash256> SpentDigest(Store* store);

// What a round like this costs on top.
absl::StatusOr<RdpCurve> CurveOfRound(const TaskConfig& config, const RoundDescription& round);

// How many rounds like `next` still fit, up to `rounds`.
absl::StatusOr<int64_t> RoundsThatFit(const TotalSpent& spent, const TaskConfig& config,
                                      const RoundDescription& next, int64_t rounds,
                                      const PrivacyBudget& budget);
// RESOURCE_EXHAUSTED says what was composed: not one more round like `next` fits.
absl::Status CheckTotalBudget(const TotalSpent& spent, const TaskConfig& config,
                              const RoundDescription& next, const PrivacyBudget& budget);
// "3 charges of task a, 1 of task b".
std::string Composed(const TotalSpent& spent);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_TOTAL_BUDGET_H_
