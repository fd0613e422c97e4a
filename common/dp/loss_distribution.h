// Epsilon of the Gaussian mechanism on Poisson samples by its privacy loss distribution: nearly
// exact.
//
// The loss of one release is put on a grid so that both distributions keep their mass in every cell
// ("connect the dots", Doroshenko et al., arXiv 2207.04380), which can only raise epsilon; releases
// compose by convolution (Koskela et al., arXiv 1906.03049).  Neighbouring: add or remove one
// contribution, the worse of the two.
#ifndef LORIKEET_COMMON_DP_LOSS_DISTRIBUTION_H_
#define LORIKEET_COMMON_DP_LOSS_DISTRIBUTION_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace lorikeet {

// INVALID_ARGUMENT: parameters out of range, or losses so large that the grid would not fit
// (epsilon in the thousands). Reliable for delta >= 1e-12: the convolution is done in doubles.
absl::StatusOr<double> SampledGaussianEpsilon(double noise_multiplier, double sampling_rate,
                                              int64_t steps, double delta);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_LOSS_DISTRIBUTION_H_
