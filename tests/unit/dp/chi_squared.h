// Pearson's chi-squared test of integer samples against exact probabilities.
#ifndef LORIKEET_TESTS_UNIT_DP_CHI_SQUARED_H_
#define LORIKEET_TESTS_UNIT_DP_CHI_SQUARED_H_

#include <cmath>
#include <cstdint>
#include <functional>
#include <map>

namespace lorikeet {

struct ChiSquared {
  double statistic = 0;
  int cells = 0;
  // Laurent and Massart (2000), lemma 1: a true distribution passes this with probability below
  // e^-18.5 < 1e-8.
  double limit() const { return cells + 2 * std::sqrt(cells * 18.5) + 2 * 18.5; }
};

// Values within `reach` of 0 with 20 or more expected samples are cells; the others are one
// together.
inline ChiSquared CompareSamples(const std::function<int64_t()>& sample,
                                 const std::function<double(int64_t)>& probability, int samples,
                                 int64_t reach) {
  std::map<int64_t, int> counts;
  for (int i = 0; i < samples; ++i) ++counts[sample()];
  ChiSquared result;
  double expected_rest = samples, observed_rest = samples;
  for (int64_t value = -reach; value <= reach; ++value) {
    const double expected = samples * probability(value);
    if (expected < 20) continue;
    const double difference = counts[value] - expected;
    result.statistic += difference * difference / expected;
    expected_rest -= expected;
    observed_rest -= counts[value];
    ++result.cells;
  }
  if (expected_rest >= 20) {
    result.statistic +=
        (observed_rest - expected_rest) * (observed_rest - expected_rest) / expected_rest;
    ++result.cells;
  }
  return result;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_DP_CHI_SQUARED_H_
