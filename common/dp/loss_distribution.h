// Epsilon and delta of composed Gaussian mechanisms on Poisson samples by their privacy loss
// distributions: nearly exact, and never below the truth.
//
// The loss of one release is put on a grid so that both distributions keep their mass in every cell
// ("connect the dots", Doroshenko et al., arXiv 2207.04380), which can only raise epsilon; releases
// compose by convolution (Koskela et al., arXiv 1906.03049).  Before it the masses are tilted
// towards the losses that decide (e^(rate x loss), normalized), so that rounding errors are small
// against delta, not against 1: deltas of 1e-15 keep their digits.  What is cut off counts as an
// infinite loss.  Neighbouring: add or remove one contribution, the worse of the two.
#ifndef LORIKEET_COMMON_DP_LOSS_DISTRIBUTION_H_
#define LORIKEET_COMMON_DP_LOSS_DISTRIBUTION_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

namespace lorikeet {

// `steps` releases, each with Gaussian noise of `noise_multiplier` sensitivities on a sample.
struct GaussianEvent {
  double noise_multiplier = 0;
  double sampling_rate = 1;
  int64_t steps = 1;
};

// The smallest epsilon of all events together at delta, which may be 0.
// INVALID_ARGUMENT: no event or more than 1000, a noise multiplier outside (0.05, 1e6), a sampling
// rate outside (0, 1], steps < 1, delta outside (0, 1), or losses that no grid fits.
absl::StatusOr<double> LossEpsilon(std::span<const GaussianEvent> events, double delta);
// The smallest delta at epsilon >= 0.
absl::StatusOr<double> LossDelta(std::span<const GaussianEvent> events, double epsilon);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_LOSS_DISTRIBUTION_H_
