// Statistics of paired experiments: summaries with bootstrap intervals, the sign test.  Shares:
// simulations/selection/intervals.h.
//
// Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (percentile intervals; whole
// clusters are drawn, since trials of one persona share its text).
#ifndef LORIKEET_SIMULATIONS_PEOPLE_STATISTICS_H_
#define LORIKEET_SIMULATIONS_PEOPLE_STATISTICS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "simulations/selection/intervals.h"

namespace lorikeet {

struct Summary {
  int count = 0;
  double mean = 0;
  double median = 0;
  Interval mean_interval;  // 95 %
  Interval median_interval;
};

// The middle value, or the mean of the two in the middle; 0 for nothing.
double Median(std::vector<double> values);

// values[i] belongs to cluster clusters[i]; each of the 1000 resamples draws as many clusters as
// there are, whole.  One cluster has no interval: low = high = the estimate.  Deterministic.
// REQUIRES: as many clusters as values.
Summary Summarize(std::span<const double> values, std::span<const int> clusters, uint64_t seed);

// One-sided sign test: the chance of `worse` or more out of better + worse, were both as likely;
// 1 if there are none.
double SignTest(int better, int worse);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_STATISTICS_H_
