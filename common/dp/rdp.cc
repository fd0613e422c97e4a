#include "common/dp/rdp.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/special_functions.h"

namespace lorikeet {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kSeriesTerms = 1000;
constexpr double kReliableLogMoment = 1e-9;  // sums of numbers near 1 are off by some 1e-15
// Below this order the sum of magnitudes is loose, by some percent at 1.5; above it is close, and
// what dp-accounting publishes.
constexpr double kSignedBelowOrder = 4;
// Below this distance from 1 the conversion is numerically useless.
constexpr double kSmallestOrder = 1.01;

// log of the moment A_alpha for an integer order.  Summed as its excess over 1, whose terms are all
// positive: exact to rounding also where the moment is 1 + 1e-20.
double LogMomentInteger(double sigma, double q, int order) {
  double log_excess = -kInfinity;
  for (int i = 2; i <= order; ++i) {
    const double log_weight =
        LogBinomial(order, i) + i * std::log(q) + (order - i) * std::log1p(-q);
    const double exponent = (static_cast<double>(i) * i - i) / (2 * sigma * sigma);
    const double log_growth = exponent > 700 ? exponent : std::log(std::expm1(exponent));
    log_excess = LogAdd(log_excess, log_weight + log_growth);
  }
  return LogAdd(0, log_excess);
}

// The same for a fractional order: the integral is split where the two densities cross; each side
// is a binomial series, whose terms alternate in sign beyond the order.  Signed: their sum, the
// moment itself.  Else the sum of their magnitudes: an upper bound free of cancellation.
double LogMomentFractional(double sigma, double q, double order, bool is_signed) {
  const double crossing = sigma * sigma * std::log(1 / q - 1) + 0.5;
  double log_sum = -kInfinity, last_left = -kInfinity, last_right = -kInfinity;
  for (int i = 0; i < kSeriesTerms; ++i) {
    const double j = order - i;
    const double log_choose = LogBinomial(order, i);
    const double log_tail_left =
        LogErfc((i - crossing) / (std::numbers::sqrt2 * sigma)) - std::numbers::ln2;
    const double log_tail_right =
        LogErfc((crossing - j) / (std::numbers::sqrt2 * sigma)) - std::numbers::ln2;
    const double left = log_choose + i * std::log(q) + j * std::log1p(-q) +
                        (static_cast<double>(i) * i - i) / (2 * sigma * sigma) + log_tail_left;
    const double right = log_choose + j * std::log(q) + i * std::log1p(-q) +
                         (j * j - j) / (2 * sigma * sigma) + log_tail_right;
    const int negative_factors = std::max(0, i - 1 - static_cast<int>(std::floor(order)));
    const double term = LogAdd(left, right);
    log_sum =
        is_signed && negative_factors % 2 == 1 ? LogSubtract(log_sum, term) : LogAdd(log_sum, term);
    if (left < last_left && right < last_right && std::max(left, right) < log_sum - 30) {
      return log_sum;
    }
    last_left = left;
    last_right = right;
  }
  return kInfinity;
}

// The logarithm of the moment is convex in the order: an upper bound from the integers around it,
// for moments so near 1 that rounding would swallow the series.
double LogMomentInterpolated(double sigma, double q, double order) {
  const int below = static_cast<int>(std::floor(order));
  const double part = order - below;
  const double low = below == 1 ? 0 : LogMomentInteger(sigma, q, below);
  return (1 - part) * low + part * LogMomentInteger(sigma, q, below + 1);
}

double LogMoment(double sigma, double q, double order, bool is_signed) {
  if (order == std::floor(order)) return LogMomentInteger(sigma, q, static_cast<int>(order));
  const double series = LogMomentFractional(sigma, q, order, is_signed);
  return series > kReliableLogMoment ? series : LogMomentInterpolated(sigma, q, order);
}

// Amplification of any mechanism's integer-order curve by Poisson sampling (Zhu and Wang 2019,
// theorem 5).
double SampledRdp(int order, double q, const std::function<double(int)>& rdp) {
  double log_sum = (order - 1) * std::log1p(-q) + std::log(order * q - q + 1);
  for (int l = 2; l <= order; ++l) {
    const double log_weight =
        LogBinomial(order, l) + (order - l) * std::log1p(-q) + l * std::log(q);
    const double factor = l == 2 ? 0 : std::log(3.0);
    log_sum = LogAdd(log_sum, factor + log_weight + (l - 1) * rdp(l));
  }
  return std::min(log_sum / (order - 1), rdp(order));
}

absl::Status CheckSampling(double sampling_rate, int64_t steps) {
  if (!(sampling_rate > 0 && sampling_rate <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("sampling rate: expected a number in (0, 1], got %g", sampling_rate));
  }
  if (steps < 1)
    return absl::InvalidArgumentError(absl::StrFormat("steps: expected at least 1, got %d", steps));
  return absl::OkStatus();
}

absl::Status CheckMechanism(const DistributedMechanism& m) {
  RETURN_IF_ERROR(CheckSampling(m.sampling_rate, m.steps));
  if (!(m.scale > 0 && m.sigma_local > 0 && m.clip_norm > 0 && std::isfinite(m.scale) &&
        std::isfinite(m.sigma_local) && std::isfinite(m.clip_norm))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("scale, sigma and clip norm: expected positive numbers, got %g, %g and %g",
                        m.scale, m.sigma_local, m.clip_norm));
  }
  if (m.clients < 1 || m.dimension < 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "clients and dimension: expected at least 1, got %d and %d", m.clients, m.dimension));
  }
  return absl::OkStatus();
}

// Sensitivities after rounding, in real units.
struct Sensitivity {
  double l1 = 0, l2 = 0;
};
Sensitivity RoundedSensitivity(const DistributedMechanism& m) {
  const double l2 = RoundedNormBound(m.clip_norm * m.scale, m.dimension);  // integers: L1 <= L2^2
  const double l1 = l2 * std::min(std::sqrt(static_cast<double>(m.dimension)), l2);
  return {.l1 = l1 / m.scale, .l2 = l2 / m.scale};
}

RdpCurve IntegerCurve(const DistributedMechanism& m, const std::function<double(int)>& rdp) {
  RdpCurve curve;
  for (double order : IntegerOrders()) {
    const int a = static_cast<int>(order);
    const double value = m.sampling_rate == 1 ? rdp(a) : SampledRdp(a, m.sampling_rate, rdp);
    curve.orders.push_back(order);
    curve.values.push_back(value * static_cast<double>(m.steps));
  }
  return curve;
}

}  // namespace

absl::Status RdpCurve::Compose(const RdpCurve& other) {
  if (orders != other.orders)
    return absl::InvalidArgumentError("privacy curve: expected the same orders");
  for (size_t i = 0; i < values.size(); ++i) values[i] += other.values[i];
  return absl::OkStatus();
}

std::span<const double> GaussianOrders() {
  static const std::vector<double> orders = [] {
    std::vector<double> result;
    for (int x = 1; x < 100; ++x) result.push_back(1 + x / 10.0);
    for (int x = 11; x < 64; ++x) result.push_back(x);
    result.insert(result.end(), {128, 256, 512, 1024});
    return result;
  }();
  return orders;
}

std::span<const double> IntegerOrders() {
  static const std::vector<double> orders = [] {
    std::vector<double> result;
    for (int x = 2; x <= 128; ++x) result.push_back(x);
    result.push_back(256);
    return result;
  }();
  return orders;
}

double SampledGaussianRdp(double noise_multiplier, double sampling_rate, double order) {
  if (sampling_rate == 1) return order / (2 * noise_multiplier * noise_multiplier);
  return LogMoment(noise_multiplier, sampling_rate, order, order < kSignedBelowOrder) / (order - 1);
}

double SampledGaussianRdpBound(double noise_multiplier, double sampling_rate, double order) {
  if (sampling_rate == 1) return order / (2 * noise_multiplier * noise_multiplier);
  return LogMoment(noise_multiplier, sampling_rate, order, false) / (order - 1);
}

absl::StatusOr<RdpCurve> GaussianRdp(double noise_multiplier, double sampling_rate, int64_t steps) {
  RETURN_IF_ERROR(CheckSampling(sampling_rate, steps));
  if (!(noise_multiplier > 0 && std::isfinite(noise_multiplier))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("noise multiplier: expected a positive number, got %g", noise_multiplier));
  }
  RdpCurve curve;
  for (double order : GaussianOrders()) {
    curve.orders.push_back(order);
    curve.values.push_back(SampledGaussianRdp(noise_multiplier, sampling_rate, order) *
                           static_cast<double>(steps));
  }
  return curve;
}

absl::StatusOr<RdpCurve> LaplaceRdp(double noise_multiplier, int64_t steps) {
  RETURN_IF_ERROR(CheckSampling(1, steps));
  if (!(noise_multiplier > 0 && std::isfinite(noise_multiplier))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("noise multiplier: expected a positive number, got %g", noise_multiplier));
  }
  const double epsilon = 1 / noise_multiplier;
  RdpCurve curve;
  for (double a : GaussianOrders()) {
    const double value =
        epsilon + std::log1p((a - 1) * std::expm1(epsilon * (1 - 2 * a)) / (2 * a - 1)) / (a - 1);
    curve.orders.push_back(a);
    curve.values.push_back(value * static_cast<double>(steps));
  }
  return curve;
}

absl::StatusOr<RdpCurve> SkellamRdp(const DistributedMechanism& m) {
  RETURN_IF_ERROR(CheckMechanism(m));
  const Sensitivity sensitivity = RoundedSensitivity(m);
  const double l1 = sensitivity.l1, l2 = sensitivity.l2, s = m.scale;
  const double mu = static_cast<double>(m.clients) * m.sigma_local * m.sigma_local;
  return IntegerCurve(m, [=](int a) {
    const double gaussian = a / (2 * mu) * l2 * l2;
    const double discrete = std::min(
        ((2 * a - 1) * s * l2 * l2 + 6 * l1) / (4 * s * s * s * mu * mu), 3 * l1 / (2 * s * mu));
    return gaussian + discrete;
  });
}

absl::StatusOr<RdpCurve> DiscreteGaussianRdp(const DistributedMechanism& m) {
  RETURN_IF_ERROR(CheckMechanism(m));
  const Sensitivity sensitivity = RoundedSensitivity(m);
  const double deviation = m.sigma_local * std::sqrt(static_cast<double>(m.clients));
  const double l1 = sensitivity.l1 / deviation, l2 = sensitivity.l2 / deviation,
               d = static_cast<double>(m.dimension);
  // How far a sum of discrete Gaussians is from one (theorem 1).
  double tau = 0;
  const double exponent = -2 * std::pow(std::numbers::pi * m.sigma_local * m.scale, 2);
  for (int64_t k = 1; k < m.clients; ++k)
    tau += std::exp(exponent * (static_cast<double>(k) / static_cast<double>(k + 1)));
  tau *= 10;
  return IntegerCurve(m, [=](int a) {
    const double one = a / 2.0 * l2 * l2 + tau * d;
    const double two = a / 2.0 * (l2 * l2 + 2 * l1 * tau + tau * tau * d);
    const double three = a / 2.0 * std::pow(l2 + std::sqrt(d) * tau, 2);
    return std::min({one, two, three});
  });
}

absl::StatusOr<RdpCurve> DistributedRdp(const DistributedMechanism& m) {
  return m.noise == NoiseKind::kSkellam ? SkellamRdp(m) : DiscreteGaussianRdp(m);
}

absl::StatusOr<EpsilonAtOrder> EpsilonFromRdp(const RdpCurve& curve, double delta) {
  if (!(delta > 0 && delta < 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("delta: expected a number in (0, 1), got %g", delta));
  }
  EpsilonAtOrder best{.epsilon = kInfinity, .order = 0};
  for (size_t i = 0; i < curve.orders.size(); ++i) {
    const double a = curve.orders[i], rdp = curve.values[i];
    double epsilon = kInfinity;
    if (delta * delta + std::expm1(-rdp) > 0) {
      epsilon = 0;  // total variation alone is below delta
    } else if (a > kSmallestOrder) {
      epsilon = rdp + std::log1p(-1 / a) - std::log(delta * a) / (a - 1);
    }
    if (epsilon < best.epsilon) best = {.epsilon = std::max(epsilon, 0.0), .order = a};
  }
  return best;
}

}  // namespace lorikeet
