// How sure a measured share is.
#ifndef LORIKEET_SIMULATIONS_SELECTION_INTERVALS_H_
#define LORIKEET_SIMULATIONS_SELECTION_INTERVALS_H_

#include <cstdint>
#include <span>

namespace lorikeet {

struct Interval {
  double low = 0;
  double high = 1;
};

// 95 % interval of a share by Wilson's score (E. B. Wilson, 1927): trials independent.  [0, 1] for
// no trials.
Interval WilsonInterval(int64_t successes, int64_t trials);

// Trials of one persona: they share its text and its adapter, so they are not independent.
struct Cluster {
  int64_t successes = 0;
  int64_t trials = 0;
};
// 95 % percentile interval of the pooled share when whole clusters are drawn again, with
// replacement, `resamples` times.  Deterministic for a seed.
Interval ClusterBootstrap(std::span<const Cluster> clusters, uint64_t seed, int resamples = 2000);
// The same of the difference of shares a - b, the same clusters drawn for both.  REQUIRES: equal
// sizes.
Interval ClusterBootstrapDifference(std::span<const Cluster> a, std::span<const Cluster> b,
                                    uint64_t seed, int resamples = 2000);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_INTERVALS_H_
