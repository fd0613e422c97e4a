// Discrete Gaussian noise by exact integer arithmetic (Canonne, Kamath and Steinke, arXiv
// 2004.00010, algorithms 1 to 3).
//
// P(k) is proportional to e^(-k^2 / (2 sigma^2)) over the integers.  Every decision compares
// uniform integers with integers; no floating point touches the sample.  Unlike Skellam noise, sums
// of it are only nearly of its kind (arXiv 2102.06387, theorem 1), which the accountant charges
// for.  Not constant time: how many draws a sample takes depends on it.
#ifndef LORIKEET_COMMON_DP_DISCRETE_GAUSSIAN_H_
#define LORIKEET_COMMON_DP_DISCRETE_GAUSSIAN_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/base/random.h"

namespace lorikeet {

// True with probability e^(-numerator / denominator), exactly.
// REQUIRES: 0 < denominator < 2^60.
bool SampleBernoulliExp(uint64_t numerator, uint64_t denominator, RandomSource* random);

// P(k) proportional to e^(-|k| / scale).  REQUIRES: 0 < scale < 2^30.
int64_t SampleDiscreteLaplace(uint64_t scale, RandomSource* random);

// Thread-safe once made.
class DiscreteGaussianSampler {
 public:
  // INVALID_ARGUMENT: sigma^2 not in (0, 2^29].  It is rounded up to a multiple of 2^-20.
  static absl::StatusOr<DiscreteGaussianSampler> Create(double sigma_squared);
  int64_t Sample(RandomSource* random) const;

 private:
  DiscreteGaussianSampler() = default;

  uint64_t scaled_square_ = 0;  // sigma^2 x 2^20
  uint64_t laplace_scale_ = 1;  // floor(sigma) + 1
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_DISCRETE_GAUSSIAN_H_
