// What an operator should look at first, in words.
#ifndef LORIKEET_COORDINATOR_DASHBOARD_ATTENTION_H_
#define LORIKEET_COORDINATOR_DASHBOARD_ATTENTION_H_

#include <vector>

#include "absl/time/time.h"
#include "coordinator/dashboard/fleet_view.h"

namespace lorikeet {

// Urgent ones first.  Budgets from this share of them on are nearly spent; releases are about to
// expire from this long before.
inline constexpr double kNearlySpent = 0.8;
inline constexpr absl::Duration kExpiresSoon = absl::Hours(24 * 14);

std::vector<Attention> WhatNeedsAttention(const FleetView& view, absl::Time now);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DASHBOARD_ATTENTION_H_
