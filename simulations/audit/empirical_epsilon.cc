#include "simulations/audit/empirical_epsilon.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "common/dp/accountant.h"
#include "common/dp/special_functions.h"

namespace lorikeet {
namespace {

constexpr int kBisections = 60;
constexpr double kLargestEpsilon = 100;
constexpr double kLargestDeviation = 38;  // beyond, normal tails underflow

double LogProbability(int64_t n, double p, int64_t k) {
  const double successes = static_cast<double>(k), failures = static_cast<double>(n - k);
  const double log_success = k == 0 ? 0 : successes * std::log(p);
  const double log_failure = k == n ? 0 : failures * std::log1p(-p);
  return LogBinomial(static_cast<double>(n), successes) + log_success + log_failure;
}

// The point of [low, high] where the condition, true at low, turns false.
double Turn(double low, double high, const std::function<bool(double)>& holds) {
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (holds(middle) ? low : high) = middle;
  }
  return low;
}

double NormalQuantile(double p) {
  return Turn(-kLargestDeviation, kLargestDeviation,
              [&](double x) { return std::exp(LogNormalCdf(x)) < p; });
}

// log((1 - false negatives - delta) / false positives): what the definition of privacy allows.
double DirectEpsilon(double misses, double false_alarms, double delta) {
  const double hits = 1 - misses - delta;
  return hits <= 0 ? 0 : std::max(0.0, std::log(hits / false_alarms));
}

int64_t CountAbove(std::span<const double> scores, double threshold) {
  return std::ranges::count_if(scores, [&](double score) { return score > threshold; });
}

}  // namespace

double BinomialUpperTail(int64_t n, double p, int64_t k) {
  if (k <= 0) return 1;
  if (k > n || p <= 0) return 0;
  if (p >= 1) return 1;
  // The shorter side is summed: its terms are the small ones where accuracy matters.
  const bool upper = static_cast<double>(k) > static_cast<double>(n) * p;
  double sum = 0;
  if (upper) {
    for (int64_t i = k; i <= n; ++i) sum += std::exp(LogProbability(n, p, i));
    return std::min(1.0, sum);
  }
  for (int64_t i = 0; i < k; ++i) sum += std::exp(LogProbability(n, p, i));
  return std::max(0.0, 1 - sum);
}

double ClopperPearsonUpper(int64_t n, int64_t k, double confidence) {
  if (k >= n) return 1;
  return Turn(static_cast<double>(k) / static_cast<double>(n), 1,
              [&](double p) { return 1 - BinomialUpperTail(n, p, k + 1) >= 1 - confidence; });
}

double OneRunPValue(const OneRunGuesses& g, double epsilon, double delta) {
  const double p = 1 / (1 + std::exp(-epsilon));
  const double beta = BinomialUpperTail(g.guesses, p, g.correct);
  if (delta == 0) return beta;
  // delta may turn up to 2 m delta guesses right, in the worst place of the distribution.
  double alpha = 0, sum = 0;
  for (int64_t i = 1; i <= g.correct; ++i) {
    sum += std::exp(LogProbability(g.guesses, p, g.correct - i));
    alpha = std::max(alpha, sum / static_cast<double>(i));
  }
  return std::min(1.0, beta + 2 * static_cast<double>(g.canaries) * delta * alpha);
}

double OneRunEpsilon(const OneRunGuesses& guesses, double delta, double confidence) {
  const auto rejected = [&](double epsilon) {
    return OneRunPValue(guesses, epsilon, delta) < 1 - confidence;
  };
  return rejected(0) ? Turn(0, kLargestEpsilon, rejected) : 0;
}

RepeatedBound RepeatedEpsilon(const RepeatedScores& scores, std::span<const double> thresholds,
                              double delta, double confidence) {
  RepeatedBound best;
  const double each = 1 - (1 - confidence) / (2 * static_cast<double>(thresholds.size()));
  const int64_t without = static_cast<int64_t>(scores.without.size());
  const int64_t with = static_cast<int64_t>(scores.with.size());
  for (const double threshold : thresholds) {
    const double false_alarms =
        ClopperPearsonUpper(without, CountAbove(scores.without, threshold), each);
    const double misses =
        ClopperPearsonUpper(with, with - CountAbove(scores.with, threshold), each);
    best.epsilon = std::max({best.epsilon, DirectEpsilon(misses, false_alarms, delta),
                             DirectEpsilon(false_alarms, misses, delta)});
    best.separation =
        std::max(best.separation, NormalQuantile(1 - false_alarms) - NormalQuantile(misses));
  }
  if (best.separation > 0) {
    best.gaussian_epsilon = GaussianEpsilon(1 / best.separation, 1, delta).value_or(0);
  }
  return best;
}

}  // namespace lorikeet
