// Privacy accounting: what a mechanism costs, and how much noise a budget asks for.
//
// Publish epsilon by the exact Gaussian or by privacy loss distributions where they apply, never by
// RDP alone there.
#ifndef LORIKEET_COMMON_DP_ACCOUNTANT_H_
#define LORIKEET_COMMON_DP_ACCOUNTANT_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "common/dp/encoder.h"
#include "common/dp/rdp.h"

namespace lorikeet {

// The smallest delta of the Gaussian mechanism at epsilon (Balle and Wang 2018, theorem 8).
// REQUIRES: noise_multiplier > 0.  `steps` releases are one with noise_multiplier / sqrt(steps).
double GaussianDelta(double noise_multiplier, int64_t steps, double epsilon);
// Its inverse in epsilon, 0 when delta is generous.  INVALID_ARGUMENT: out of range.
absl::StatusOr<double> GaussianEpsilon(double noise_multiplier, int64_t steps, double delta);

// Concentrated differential privacy (arXiv 1605.02065): rho of `steps` Gaussian releases.
double GaussianZcdp(double noise_multiplier, int64_t steps);
// Epsilon of any rho-zCDP mechanism: the Renyi conversion at the best of all orders, not of a grid.
// A Gaussian one has less: GaussianEpsilon at noise multiplier 1 / sqrt(2 rho).
// INVALID_ARGUMENT: out of range.
absl::StatusOr<double> ZcdpEpsilon(double rho, double delta);

struct NoiseRange {
  double least = 1e-4;
  double most = 1e8;
  double relative_error = 1e-12;
};
// The smallest noise in the range whose epsilon (a decreasing function of the noise) is at most
// `epsilon`. INVALID_ARGUMENT when even the largest is not enough, or epsilon is not positive.
absl::StatusOr<double> CalibrateNoise(
    double epsilon, const std::function<absl::StatusOr<double>(double)>& epsilon_of,
    const NoiseRange& range = {});

// The largest clip norm whose epsilon (an increasing function of it) is at most `epsilon`, within
// the reciprocal of the range.  Errors as CalibrateNoise.
absl::StatusOr<double> CalibrateClip(
    double epsilon, const std::function<absl::StatusOr<double>(double)>& epsilon_of,
    const NoiseRange& range = {});

// The mechanism of `rounds` rounds in which `honest_survivors` devices at least added their share
// of noise.
DistributedMechanism RoundMechanism(const EncodingParameters& parameters, int honest_survivors,
                                    int rounds);
// Epsilon of such rounds with the noise that the parameters state, without amplification by
// sampling: devices select themselves.  Infinite when sigma_local is 0.  INVALID_ARGUMENT:
// parameters out of range.
absl::StatusOr<double> RoundEpsilon(const EncodingParameters& parameters, int honest_survivors,
                                    int rounds, double delta);
// The smallest sigma_local for which RoundEpsilon is at most `epsilon`; parameters.sigma_local is
// ignored.
absl::StatusOr<double> CalibrateSigmaLocal(const EncodingParameters& parameters,
                                           int honest_survivors, int rounds, double epsilon,
                                           double delta);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_ACCOUNTANT_H_
