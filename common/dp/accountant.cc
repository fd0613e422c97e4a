#include "common/dp/accountant.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/special_functions.h"

namespace lorikeet {
namespace {

constexpr int kBisections =
    200;  // more than the bits of a double: ends when the interval cannot be split

constexpr double kSmallestExcess = 1e-2;  // of an order over 1: nearer the conversion is useless
constexpr double kLargestLogExcess = 50;

}  // namespace

double GaussianDelta(double noise_multiplier, int64_t steps, double epsilon) {
  const double mu = std::sqrt(static_cast<double>(steps)) / noise_multiplier;
  const double log_upper = LogNormalCdf(mu / 2 - epsilon / mu);
  const double log_lower = epsilon + LogNormalCdf(-mu / 2 - epsilon / mu);
  return std::exp(LogSubtract(log_upper, log_lower));
}

absl::StatusOr<double> GaussianEpsilon(double noise_multiplier, int64_t steps, double delta) {
  if (!(noise_multiplier > 0 && std::isfinite(noise_multiplier)) || steps < 1 ||
      !(delta > 0 && delta < 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("Gaussian: expected a positive noise multiplier, at least 1 step and delta "
                        "in (0, 1), got %g, %d and %g",
                        noise_multiplier, steps, delta));
  }
  if (GaussianDelta(noise_multiplier, steps, 0) <= delta) return 0.0;
  double low = 0, high = 1;
  while (GaussianDelta(noise_multiplier, steps, high) > delta) high *= 2;
  for (int i = 0; i < kBisections && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    (GaussianDelta(noise_multiplier, steps, middle) > delta ? low : high) = middle;
  }
  return high;
}

double GaussianZcdp(double noise_multiplier, int64_t steps) {
  return static_cast<double>(steps) / (2 * noise_multiplier * noise_multiplier);
}

absl::StatusOr<double> ZcdpEpsilon(double rho, double delta) {
  if (!(rho > 0 && std::isfinite(rho)) || !(delta > 0 && delta < 1)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "zCDP: expected a positive rho and delta in (0, 1), got %g and %g", rho, delta));
  }
  if (delta * delta + std::expm1(-rho) > 0) return 0.0;  // total variation alone is below delta
  // Unimodal in log(order - 1); its minimum lies near 1 + sqrt(log(1 / delta) / rho).
  const auto epsilon = [&](double log_excess) {
    const double excess = std::exp(log_excess), order = 1 + excess;
    return rho * order + std::log(excess / order) - (std::log(delta) + std::log(order)) / excess;
  };
  double low = std::log(kSmallestExcess), high = kLargestLogExcess;
  for (int i = 0; i < kBisections; ++i) {
    const double a = low + (high - low) / 3, b = high - (high - low) / 3;
    (epsilon(a) < epsilon(b) ? high : low) = epsilon(a) < epsilon(b) ? b : a;
  }
  return std::max(0.0, epsilon(low));
}

absl::StatusOr<double> CalibrateNoise(
    double epsilon, const std::function<absl::StatusOr<double>(double)>& epsilon_of,
    const NoiseRange& range) {
  if (!(epsilon > 0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("epsilon: expected a positive number, got %g", epsilon));
  }
  double low = range.least, high = range.most;
  ASSIGN_OR_RETURN(const double least, epsilon_of(low));
  if (least <= epsilon) return low;
  ASSIGN_OR_RETURN(const double most, epsilon_of(high));
  if (!(most <= epsilon)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("calibration: no noise up to %g reaches epsilon %g", range.most, epsilon));
  }
  // Epsilon is close to a power of the noise: false position on logarithms, with a bisection
  // whenever that does not shrink the interval fast.
  double at_low = least, at_high = most, width = std::log(high / low);
  for (int i = 0; i < kBisections && high / low > 1 + range.relative_error; ++i) {
    const double edge = 1 + range.relative_error / 2;
    double middle = std::sqrt(low * high);
    if (i % 4 != 3 && std::isfinite(at_low) && at_high > 0) {
      const double part = std::log(at_low / epsilon) / std::log(at_low / at_high);
      middle = std::clamp(low * std::pow(high / low, part), low * edge, high / edge);
    } else if (i % 4 == 3) {
      const bool is_fast = std::log(high / low) < width / 8;
      width = std::log(high / low);
      if (is_fast) continue;
    }
    ASSIGN_OR_RETURN(const double value, epsilon_of(middle));
    (value <= epsilon ? high : low) = middle;
    (value <= epsilon ? at_high : at_low) = value;
  }
  return high;
}

absl::StatusOr<double> CalibrateClip(
    double epsilon, const std::function<absl::StatusOr<double>(double)>& epsilon_of,
    const NoiseRange& range) {
  ASSIGN_OR_RETURN(
      const double least,
      CalibrateNoise(
          epsilon, [&](double reciprocal) { return epsilon_of(1 / reciprocal); }, range));
  return 1 / least;
}

DistributedMechanism RoundMechanism(const EncodingParameters& parameters, int honest_survivors,
                                    int rounds) {
  return {.scale = parameters.scale,
          .sigma_local = parameters.sigma_local,
          .clients = honest_survivors,
          .clip_norm = parameters.clip_norm,
          .dimension = parameters.padded_dimension(),
          .sampling_rate = 1,
          .steps = rounds,
          .noise = parameters.noise};
}

absl::StatusOr<double> RoundEpsilon(const EncodingParameters& parameters, int honest_survivors,
                                    int rounds, double delta) {
  if (parameters.sigma_local == 0) return std::numeric_limits<double>::infinity();
  ASSIGN_OR_RETURN(const RdpCurve curve,
                   DistributedRdp(RoundMechanism(parameters, honest_survivors, rounds)));
  ASSIGN_OR_RETURN(const EpsilonAtOrder best, EpsilonFromRdp(curve, delta));
  return best.epsilon;
}

absl::StatusOr<double> CalibrateSigmaLocal(const EncodingParameters& parameters,
                                           int honest_survivors, int rounds, double epsilon,
                                           double delta) {
  return CalibrateNoise(epsilon, [&](double sigma_local) {
    EncodingParameters tried = parameters;
    tried.sigma_local = sigma_local;
    return RoundEpsilon(tried, honest_survivors, rounds, delta);
  });
}

}  // namespace lorikeet
