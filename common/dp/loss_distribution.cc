#include "common/dp/loss_distribution.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr double kFinestStep = 1e-4;       // of the loss grid
constexpr double kTail = 1e-15;            // mass cut off at either end, counted as lost
constexpr int64_t kLargestGrid = 1 << 22;  // cells
constexpr size_t kBoundBlock = 32;         // cells
constexpr double kReach = 8.5;             // deviations; beyond them lies less than kTail

double UpperTail(double x) { return 0.5 * std::erfc(x / std::numbers::sqrt2); }

// Probability of the interval (a, b) under N(mean, sigma^2), without cancellation in either tail.
double IntervalMass(double a, double b, double mean, double sigma) {
  const double low = (a - mean) / sigma, high = (b - mean) / sigma;
  return low > 0 ? UpperTail(low) - UpperTail(high) : UpperTail(-high) - UpperTail(-low);
}

// Masses at losses (first + i) * step; the rest is lost (infinite loss).
struct LossDistribution {
  double step = 0;
  int64_t first = 0;
  std::vector<double> mass;
  double lost = 0;
};

struct Mechanism {
  double sigma = 0;
  double q = 0;

  // Loss log(mixture / N(0, sigma^2)) at x, increasing in x.
  double LossAt(double x) const {
    const double exponent = (2 * x - 1) / (2 * sigma * sigma);
    if (q == 1) return exponent;
    return exponent > 0 ? exponent + std::log(q + (1 - q) * std::exp(-exponent))
                        : std::log1p(q * std::expm1(exponent));
  }
  // Its inverse; -infinity below its range.
  double PointAt(double loss) const {
    if (q == 1) return sigma * sigma * loss + 0.5;
    const double ratio = (std::expm1(loss) + q) / q;  // (e^loss - (1 - q)) / q
    return ratio > 0 ? sigma * sigma * std::log(ratio) + 0.5
                     : -std::numeric_limits<double>::infinity();
  }
  double NullMass(double a, double b) const { return IntervalMass(a, b, 0, sigma); }
  double MixtureMass(double a, double b) const {
    return (1 - q) * IntervalMass(a, b, 0, sigma) + q * IntervalMass(a, b, 1, sigma);
  }
};

// Loss of one release: `remove`: samples from the mixture, against N(0, sigma^2); else the other
// way round.
LossDistribution Discretize(const Mechanism& m, bool remove, double step) {
  const double x_low = -kReach * m.sigma, x_high = 1 + kReach * m.sigma;
  const double loss_low = remove ? m.LossAt(x_low) : -m.LossAt(x_high);
  const double loss_high = remove ? m.LossAt(x_high) : -m.LossAt(x_low);
  LossDistribution loss{.step = step,
                        .first = static_cast<int64_t>(std::floor(loss_low / step)),
                        .mass = {},
                        .lost = kTail};
  const int64_t last = static_cast<int64_t>(std::ceil(loss_high / step));
  loss.mass.assign(last - loss.first + 1, 0.0);
  const auto point = [&](int64_t cell) {
    const double value = static_cast<double>(cell) * step;
    return remove ? m.PointAt(value) : m.PointAt(-value);
  };
  double upper_mass = 0, lower_mass = 0;
  for (int64_t cell = loss.first; cell < last; ++cell) {
    const double a = std::min(point(cell), point(cell + 1)),
                 b = std::max(point(cell), point(cell + 1));
    upper_mass = remove ? m.MixtureMass(a, b) : m.NullMass(a, b);
    lower_mass = remove ? m.NullMass(a, b) : m.MixtureMass(a, b);
    // Split between the ends of the cell so that both masses are kept.
    const double high_part =
        (upper_mass - std::exp(static_cast<double>(cell) * step) * lower_mass) / -std::expm1(-step);
    const double clamped = std::clamp(high_part, 0.0, upper_mass);
    loss.mass[cell - loss.first] += upper_mass - clamped;
    loss.mass[cell - loss.first + 1] += clamped;
  }
  return loss;
}

// In place; size a power of two.  The inverse is not divided by the size.
void Fourier(std::vector<std::complex<double>>* values, bool inverse) {
  std::vector<std::complex<double>>& v = *values;
  const size_t n = v.size();
  for (size_t i = 1, j = 0; i < n; ++i) {
    size_t bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(v[i], v[j]);
  }
  std::vector<std::complex<double>> roots(n / 2);
  for (size_t i = 0; i < n / 2; ++i) {
    roots[i] = std::polar(1.0, (inverse ? 2 : -2) * std::numbers::pi * static_cast<double>(i) /
                                   static_cast<double>(n));
  }
  for (size_t length = 2; length <= n; length *= 2) {
    for (size_t start = 0; start < n; start += length) {
      for (size_t i = 0; i < length / 2; ++i) {
        const auto odd = v[start + length / 2 + i] * roots[i * (n / length)];
        v[start + length / 2 + i] = v[start + i] - odd;
        v[start + i] += odd;
      }
    }
  }
}

// A bound that the sum of `steps` losses passes with probability below kTail, upwards or downwards
// (Chernoff).  Cells are taken in blocks, at the outer edge of each, which only widens the bound.
double SumBound(const LossDistribution& loss, int64_t steps, bool upwards) {
  std::vector<std::pair<double, double>> blocks;  // loss and mass
  for (size_t begin = 0; begin < loss.mass.size(); begin += kBoundBlock) {
    const size_t end = std::min(begin + kBoundBlock, loss.mass.size());
    double mass = 0;
    for (size_t i = begin; i < end; ++i) mass += loss.mass[i];
    const int64_t edge = loss.first + static_cast<int64_t>(upwards ? end - 1 : begin);
    if (mass > 0) blocks.emplace_back(static_cast<double>(edge) * loss.step, mass);
  }
  const double direction = upwards ? 1 : -1;
  double best = std::numeric_limits<double>::infinity();
  for (double rate = 0x1p-6; rate <= 0x1p12; rate *= 1.25) {
    const double top = direction * rate * (upwards ? blocks.back().first : blocks.front().first);
    double sum = 0;
    for (const auto& [value, mass] : blocks) sum += mass * std::exp(direction * rate * value - top);
    best = std::min(best,
                    (static_cast<double>(steps) * (top + std::log(sum)) - std::log(kTail)) / rate);
  }
  return direction * best;
}

absl::StatusOr<LossDistribution> SelfCompose(const LossDistribution& loss, int64_t steps) {
  const int64_t low = static_cast<int64_t>(std::floor(SumBound(loss, steps, false) / loss.step));
  const int64_t high = static_cast<int64_t>(std::ceil(SumBound(loss, steps, true) / loss.step));
  int64_t size = 2;
  while (size < high - low + 1 || size < static_cast<int64_t>(loss.mass.size())) size *= 2;
  if (size > kLargestGrid) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "privacy loss: expected a grid of at most %d cells, need %d", kLargestGrid, size));
  }
  std::vector<std::complex<double>> values(size);
  for (size_t i = 0; i < loss.mass.size(); ++i) values[i] = loss.mass[i];
  Fourier(&values, false);
  for (auto& value : values) value = std::pow(value, static_cast<double>(steps));
  Fourier(&values, true);
  // Cell i stands for the sum steps * first + i, modulo the size; the window [low, low + size)
  // holds all but the tails.
  LossDistribution sum{
      .step = loss.step, .first = low, .mass = std::vector<double>(size), .lost = 0};
  for (int64_t i = 0; i < size; ++i) {
    const int64_t cell = (((low + i - steps * loss.first) % size) + size) % size;
    sum.mass[i] = std::max(0.0, values[cell].real() / static_cast<double>(size));
  }
  sum.lost = -std::expm1(static_cast<double>(steps) * std::log1p(-loss.lost)) + 2 * kTail;
  return sum;
}

// The smallest epsilon >= 0 with delta(epsilon) <= delta.  Between grid points delta(epsilon) is A
// - e^epsilon B.
double EpsilonOf(const LossDistribution& loss, double delta) {
  if (loss.lost > delta) return std::numeric_limits<double>::infinity();
  double above = loss.lost, above_other = 0;  // masses of both distributions at larger losses
  for (int64_t i = static_cast<int64_t>(loss.mass.size()) - 1; i >= 0; --i) {
    const double value = static_cast<double>(loss.first + i) * loss.step;
    if (value <= 0) break;
    if (above - std::exp(value) * above_other > delta)
      return std::log((above - delta) / above_other);
    above += loss.mass[i];
    above_other += loss.mass[i] * std::exp(-value);
  }
  if (above - above_other <= delta) return 0;
  return std::log((above - delta) / above_other);
}

}  // namespace

absl::StatusOr<double> SampledGaussianEpsilon(double noise_multiplier, double sampling_rate,
                                              int64_t steps, double delta) {
  if (!(noise_multiplier > 0.05 && noise_multiplier < 1e6) ||
      !(sampling_rate > 0 && sampling_rate <= 1) || steps < 1 || !(delta > 0 && delta < 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("privacy loss: expected a noise multiplier in (0.05, 1e6), a sampling rate "
                        "in (0, 1], at least 1 step and delta "
                        "in (0, 1), got %g, %g, %d and %g",
                        noise_multiplier, sampling_rate, steps, delta));
  }
  const Mechanism mechanism{.sigma = noise_multiplier, .q = sampling_rate};
  // A coarser grid for large losses, so that one release fits easily.
  double step = kFinestStep;
  const double range = mechanism.LossAt(1 + kReach * noise_multiplier) -
                       mechanism.LossAt(-kReach * noise_multiplier);
  while (range / step > kLargestGrid / 16) step *= 2;
  double worst = 0;
  for (bool remove : {true, false}) {
    const LossDistribution one = Discretize(mechanism, remove, step);
    ASSIGN_OR_RETURN(const LossDistribution sum, SelfCompose(one, steps));
    worst = std::max(worst, EpsilonOf(sum, delta));
  }
  return worst;
}

}  // namespace lorikeet
