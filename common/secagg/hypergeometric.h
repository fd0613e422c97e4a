// Tails of the hypergeometric distribution, in logarithms so that 2^-60 is as exact as 1/2.
#ifndef LORIKEET_COMMON_SECAGG_HYPERGEOMETRIC_H_
#define LORIKEET_COMMON_SECAGG_HYPERGEOMETRIC_H_

#include <cstdint>

namespace lorikeet {

// `draws` without replacement from `population`, of which `marked` count.  REQUIRES: 0 <= marked,
// draws <= population.
struct Hypergeometric {
  int64_t population = 0;
  int64_t marked = 0;
  int64_t draws = 0;

  double LogProbability(int64_t count) const;  // natural logarithm; -infinity outside the support
  double LogAtMost(int64_t count) const;
  double LogAtLeast(int64_t count) const;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_HYPERGEOMETRIC_H_
