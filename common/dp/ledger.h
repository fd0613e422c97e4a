// What a task, or a device, has spent of its privacy budget.  Pure: whoever owns it stores it.
//
// Releases of any mechanisms compose by adding their Renyi curves at the orders that all of them
// have; a round that would exceed the budget must not start.  Nothing here is amplified by
// sampling: devices select themselves.
#ifndef LORIKEET_COMMON_DP_LEDGER_H_
#define LORIKEET_COMMON_DP_LEDGER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/dp/rdp.h"

namespace lorikeet {

struct PrivacyBudget {
  double epsilon = 0;
  double delta = 0;
};

struct PrivacyLedger {
  RdpCurve spent;        // empty: nothing yet
  int64_t releases = 0;  // how many curves are in it

  // INVALID_ARGUMENT: a curve that has no order in common with those before.
  absl::Status Spend(const RdpCurve& release);
  // Total epsilon at delta; 0 when nothing was spent.
  absl::StatusOr<double> SpentEpsilon(double delta) const;
  // Whether the total, with one more release, would pass the budget.
  absl::StatusOr<bool> WouldExceed(const RdpCurve& release, const PrivacyBudget& budget) const;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_LEDGER_H_
