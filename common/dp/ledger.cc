#include "common/dp/ledger.h"

#include "common/base/status_macros.h"

namespace lorikeet {

absl::Status PrivacyLedger::Spend(const RdpCurve& release) {
  if (releases == 0) {
    spent = release;
  } else {
    RETURN_IF_ERROR(spent.Compose(release));
  }
  ++releases;
  return absl::OkStatus();
}

absl::StatusOr<double> PrivacyLedger::SpentEpsilon(double delta) const {
  if (releases == 0) return 0.0;
  ASSIGN_OR_RETURN(const EpsilonAtOrder best, EpsilonFromRdp(spent, delta));
  return best.epsilon;
}

absl::StatusOr<bool> PrivacyLedger::WouldExceed(const RdpCurve& release,
                                                const PrivacyBudget& budget) const {
  PrivacyLedger after = *this;
  RETURN_IF_ERROR(after.Spend(release));
  ASSIGN_OR_RETURN(const double epsilon, after.SpentEpsilon(budget.delta));
  return !(epsilon <= budget.epsilon);
}

}  // namespace lorikeet
