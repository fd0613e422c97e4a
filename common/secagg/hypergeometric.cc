#include "common/secagg/hypergeometric.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lorikeet {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

double LogChoose(int64_t n, int64_t k) {
  return std::lgamma(static_cast<double>(n) + 1) - std::lgamma(static_cast<double>(k) + 1) -
         std::lgamma(static_cast<double>(n - k) + 1);
}

}  // namespace

double Hypergeometric::LogProbability(int64_t count) const {
  if (count < std::max<int64_t>(0, draws + marked - population) || count > std::min(draws, marked))
    return kNever;
  return LogChoose(marked, count) + LogChoose(population - marked, draws - count) -
         LogChoose(population, draws);
}

double Hypergeometric::LogAtMost(int64_t count) const {
  const int64_t lowest = std::max<int64_t>(0, draws + marked - population),
                highest = std::min(draws, marked);
  if (count >= highest) return 0;
  // Relative to the last term; ratios of neighbouring terms are exact in small integers.
  double relative = 0, term = 1;
  for (int64_t x = count; x >= lowest; --x) {
    relative += term;
    if (term < relative * 1e-18 && x < count) break;
    term *= static_cast<double>(x) * static_cast<double>(population - marked - draws + x) /
            (static_cast<double>(marked - x + 1) * static_cast<double>(draws - x + 1));
  }
  return relative > 0 ? LogProbability(count) + std::log(relative) : kNever;
}

double Hypergeometric::LogAtLeast(int64_t count) const {
  // Unmarked draws take the part of marked ones.
  const Hypergeometric mirrored{
      .population = population, .marked = population - marked, .draws = draws};
  return mirrored.LogAtMost(draws - count);
}

}  // namespace lorikeet
