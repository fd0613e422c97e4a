#include "common/dp/ledger.h"

#include "common/base/status_macros.h"

namespace lorikeet {

namespace {

// Both have increasing orders.
absl::StatusOr<RdpCurve> AddAtCommonOrders(const RdpCurve& a, const RdpCurve& b) {
  RdpCurve sum;
  for (size_t i = 0, j = 0; i < a.orders.size() && j < b.orders.size();) {
    if (a.orders[i] < b.orders[j]) {
      ++i;
    } else if (b.orders[j] < a.orders[i]) {
      ++j;
    } else {
      sum.orders.push_back(a.orders[i]);
      sum.values.push_back(a.values[i++] + b.values[j++]);
    }
  }
  if (sum.orders.empty()) {
    return absl::InvalidArgumentError("ledger: expected curves with orders in common");
  }
  return sum;
}

}  // namespace

absl::Status PrivacyLedger::Spend(const RdpCurve& release) {
  if (releases == 0) {
    spent = release;
  } else {
    ASSIGN_OR_RETURN(spent, AddAtCommonOrders(spent, release));
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
