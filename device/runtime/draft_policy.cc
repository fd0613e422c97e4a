#include "device/runtime/draft_policy.h"

#include <algorithm>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// What every pass without a draft allows to lose later.
constexpr double kAllowance = 0.01;
// Gains are not saved up without limit: a text that stops repeating is noticed soon.
constexpr double kMostBalance = 6.0;
// A draft must promise this much: estimates are not exact.
constexpr double kWorthwhile = 1.05;
// Means are over about this many passes.
constexpr int kMemory = 10;
// By so much of the way acceptance goes back to what is usual at each pass without a draft.
constexpr double kForget = 0.01;
// Time of each further token of a pass before anything is measured, as a share of the first one's.
constexpr double kUsualSlope = 0.15;

// What is usual, as drafted tokens right and wrong, by class of match.
constexpr double kUsualRight[] = {0.6, 1.0, 1.4, 1.7, 1.9};
constexpr double kUsualTotal = 2.0;

}  // namespace

DraftPolicy::DraftPolicy() {
  for (int i = 0; i < kClasses; ++i) {
    acceptance_[i] = {.right = kUsualRight[i], .wrong = kUsualTotal - kUsualRight[i]};
  }
}

int DraftPolicy::ClassOf(int match_length) {
  if (match_length >= 12) return 4;
  if (match_length >= 6) return 3;
  if (match_length >= 4) return 2;
  return match_length >= 3 ? 1 : 0;
}

double DraftPolicy::CostOf(int rows) const {
  if (rows == 1) return 1;
  if (timings_[rows].passes > 0) {
    return std::max(1.0, timings_[rows].seconds / timings_[1].seconds);
  }
  // From the nearest fewer that are measured, on the line through them and one token.
  int known = rows - 1;
  while (known > 1 && timings_[known].passes == 0) --known;
  if (known == 1) return 1 + kUsualSlope * (rows - 1);
  return 1 + (CostOf(known) - 1) * (rows - 1) / (known - 1);
}

int DraftPolicy::Length(int match_length, int limit) const {
  // Without knowing what one token costs nothing can be weighed.
  if (timings_[1].passes == 0) return 0;
  const Acceptance& a = acceptance_[ClassOf(match_length)];
  const double p = a.right / (a.right + a.wrong);
  // Twice what was tried before, so that no single pass is a bad surprise.
  const int most = std::min({limit, kMostDrafted, std::max(1, 2 * (longest_measured_ - 1))});
  int best = 0;
  double best_rate = kWorthwhile;
  double expected = 1;
  double power = 1;
  for (int drafted = 1; drafted <= most; ++drafted) {
    power *= p;
    expected += power;
    const double cost = CostOf(drafted + 1);
    if (cost - 1 > balance_) break;
    if (expected / cost > best_rate) {
      best = drafted;
      best_rate = expected / cost;
    }
  }
  return best;
}

void DraftPolicy::Record(int match_length, int drafted, int accepted, double seconds) {
  LORIKEET_CHECK(drafted >= 0 && drafted <= kMostDrafted && accepted <= drafted);
  Timing& timing = timings_[drafted + 1];
  // One pass that something else on the machine held up says little.
  const double usual =
      timing.passes == 0 ? seconds : std::clamp(seconds, 0.5 * timing.seconds, 2 * timing.seconds);
  timing.passes = std::min(kMemory, timing.passes + 1);
  timing.seconds += (usual - timing.seconds) / timing.passes;
  longest_measured_ = std::max(longest_measured_, drafted + 1);
  if (drafted == 0) {
    balance_ = std::min(kMostBalance, balance_ + kAllowance);
    for (int i = 0; i < kClasses; ++i) {
      Acceptance& a = acceptance_[i];
      a.right += kForget * (kUsualRight[i] - a.right);
      a.wrong += kForget * (kUsualTotal - kUsualRight[i] - a.wrong);
    }
    return;
  }
  if (timings_[1].passes > 0) {
    balance_ = std::min(kMostBalance, balance_ + 1 + accepted - usual / timings_[1].seconds);
  }
  constexpr double kKeep = 1 - 1.0 / kMemory;
  Acceptance& a = acceptance_[ClassOf(match_length)];
  a.right = kKeep * a.right + accepted;
  a.wrong = kKeep * a.wrong + (accepted < drafted ? 1 : 0);
}

}  // namespace lorikeet
