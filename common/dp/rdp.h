// Renyi differential privacy of the mechanisms we use, and its conversion to (epsilon, delta).
//
// A curve gives, per order alpha > 1, a bound on the Renyi divergence between neighbouring inputs;
// composition adds curves.  Neighbouring: one contribution added or removed.
#ifndef LORIKEET_COMMON_DP_RDP_H_
#define LORIKEET_COMMON_DP_RDP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/dp/encoder.h"

namespace lorikeet {

struct RdpCurve {
  std::vector<double> orders;  // > 1, increasing
  std::vector<double> values;  // >= 0, may be infinite; as many

  // Adds another release.  INVALID_ARGUMENT if the orders differ.
  absl::Status Compose(const RdpCurve& other);
};

// 1.1 .. 10.9 by 0.1, 11 .. 63, 128, 256, 512, 1024: those of Google's dp-accounting.
std::span<const double> GaussianOrders();
// 2 .. 128 and 256: bounds of integer mechanisms hold for integer orders.
std::span<const double> IntegerOrders();

// Gaussian noise of `noise_multiplier` = sigma / sensitivity on a Poisson sample of rate q, `steps`
// times (Mironov et al., arXiv 1908.10530, section 3.3).  Exact for integer orders and below 4,
// else a close upper bound.  Infinite where the series does not converge.
double SampledGaussianRdp(double noise_multiplier, double sampling_rate, double order);
// The upper bound at every fractional order, as dp-accounting computes it.
double SampledGaussianRdpBound(double noise_multiplier, double sampling_rate, double order);
absl::StatusOr<RdpCurve> GaussianRdp(double noise_multiplier, double sampling_rate, int64_t steps);

// Laplace noise of scale b = `noise_multiplier` x sensitivity (Mironov 2017, proposition 6).
absl::StatusOr<RdpCurve> LaplaceRdp(double noise_multiplier, int64_t steps);

// A sum of `clients` vectors, rounded and noised as common/dp/encoder.h does it.
struct DistributedMechanism {
  double scale = 0;        // s
  double sigma_local = 0;  // of one client's noise share, in real units
  int64_t clients = 0;     // whose noise is in the sum and honest
  double clip_norm = 0;    // c
  int64_t dimension = 0;   // d, padded
  double sampling_rate = 1;
  int64_t steps = 1;
  NoiseKind noise = NoiseKind::kSkellam;
};
// That of the mechanism's kind of noise.
absl::StatusOr<RdpCurve> DistributedRdp(const DistributedMechanism& mechanism);
// Skellam noise (arXiv 2110.04995, theorem 3.5).
absl::StatusOr<RdpCurve> SkellamRdp(const DistributedMechanism& mechanism);
// Discrete Gaussian noise, whose sum is only nearly a discrete Gaussian (arXiv 2102.06387,
// proposition 14).
absl::StatusOr<RdpCurve> DiscreteGaussianRdp(const DistributedMechanism& mechanism);

struct EpsilonAtOrder {
  double epsilon = 0;
  double order = 0;
};
// The best order's conversion (Canonne et al., arXiv 2004.00010, proposition 12). INVALID_ARGUMENT:
// delta not in (0, 1).
absl::StatusOr<EpsilonAtOrder> EpsilonFromRdp(const RdpCurve& curve, double delta);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_RDP_H_
