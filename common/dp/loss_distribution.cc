#include "common/dp/loss_distribution.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/fourier.h"
#include "common/dp/special_functions.h"

namespace lorikeet {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kCoarsestWish = 1e-4;     // of the loss grid; coarser only if it would not fit
constexpr int64_t kWishedCells = 1 << 17;  // for the sum of all losses
constexpr int64_t kLargestGrid = 1 << 22;  // cells
constexpr int64_t kLargestRelease = 1 << 20;
constexpr size_t kLargestEvents = 1000;
constexpr int64_t kCoarseCells = 8192;
constexpr double kCutShare = 1e-9;  // of delta: what cutting tails may cost
constexpr double kWrapped = 1e-18;  // tilted mass that may wrap around the grid
constexpr double kSmallestDelta = 1e-200;
constexpr int kDeltaGuesses = 8;
constexpr double kDeltaGuessFactor = 1e-20;
constexpr double kWidth = 12;  // deviations of the sum that the wished grid covers

double UpperTail(double x) { return 0.5 * std::erfc(x / std::numbers::sqrt2); }

// Deviations beyond which a normal variable has less than `mass`.
double ReachOf(double mass) {
  double reach = 1;
  while (UpperTail(reach) > mass && reach < 36) reach += 0.25;
  return reach;
}

// Probability of the interval (a, b) under N(mean, sigma^2), without cancellation in either tail.
double IntervalMass(double a, double b, double mean, double sigma) {
  const double low = (a - mean) / sigma, high = (b - mean) / sigma;
  return low > 0 ? UpperTail(low) - UpperTail(high) : UpperTail(-high) - UpperTail(-low);
}

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
    // log of (e^loss - (1 - q)) / q
    if (loss > 600) return sigma * sigma * (loss - std::log(q)) + 0.5;
    const double ratio = (std::expm1(loss) + q) / q;
    return ratio > 0 ? sigma * sigma * std::log(ratio) + 0.5 : -kInfinity;
  }
  double NullMass(double a, double b) const { return IntervalMass(a, b, 0, sigma); }
  double MixtureMass(double a, double b) const {
    return (1 - q) * IntervalMass(a, b, 0, sigma) + q * IntervalMass(a, b, 1, sigma);
  }
  // Second moment of the loss, roughly: for the choice of a grid only.
  double SquaredLoss() const {
    constexpr int kPoints = 2000;
    const double low = -8 * sigma, high = 1 + 8 * sigma, width = (high - low) / kPoints;
    double sum = 0;
    for (int i = 0; i < kPoints; ++i) {
      const double x = low + (i + 0.5) * width, loss = LossAt(x);
      sum += MixtureMass(x - width / 2, x + width / 2) * loss * loss;
    }
    return sum;
  }
};

// Masses of one release at losses (first + i) * step; `lost` has infinite loss.
struct Release {
  int64_t steps = 0;  // how often it is made
  int64_t first = 0;
  std::vector<double> mass;
  // The masses moved to every stride-th cell, each to its two neighbours with the mean kept: by
  // convexity no exponential moment shrinks.
  int64_t stride = 1;
  std::vector<double> coarse_mass;
  double lost = 0;
};

// `remove`: samples from the mixture, against N(0, sigma^2); else the other way round.
// nullopt: more than kLargestRelease cells.
std::optional<Release> Discretize(const Mechanism& m, bool remove, double step, double reach) {
  const double x_low = -reach * m.sigma, x_high = 1 + reach * m.sigma;
  const double loss_low = remove ? m.LossAt(x_low) : -m.LossAt(x_high);
  const double loss_high = remove ? m.LossAt(x_high) : -m.LossAt(x_low);
  if ((loss_high - loss_low) / step > static_cast<double>(kLargestRelease)) return std::nullopt;
  Release release;
  release.first = static_cast<int64_t>(std::floor(loss_low / step));
  release.lost = 2 * UpperTail(reach);
  const int64_t last = static_cast<int64_t>(std::ceil(loss_high / step));
  release.mass.assign(last - release.first + 1, 0.0);
  const auto point = [&](int64_t cell) {
    const double value = static_cast<double>(cell) * step;
    return remove ? m.PointAt(value) : m.PointAt(-value);
  };
  double next = point(release.first);
  for (int64_t cell = release.first; cell < last; ++cell) {
    const double here = next;
    next = point(cell + 1);
    const double a = std::min(here, next), b = std::max(here, next);
    const double upper = remove ? m.MixtureMass(a, b) : m.NullMass(a, b);
    const double lower = remove ? m.NullMass(a, b) : m.MixtureMass(a, b);
    // Split between the ends of the cell so that both masses are kept.  Where the other mass
    // underflows all of it goes to the upper end.
    const double scaled = lower > 0 ? std::exp(static_cast<double>(cell) * step) * lower : 0;
    const double high_part = std::clamp((upper - scaled) / -std::expm1(-step), 0.0, upper);
    release.mass[cell - release.first] += upper - high_part;
    release.mass[cell - release.first + 1] += high_part;
  }
  const int64_t cells = last - release.first + 1;
  release.stride = cells / kCoarseCells + 1;
  release.coarse_mass.assign(cells / release.stride + 2, 0.0);
  for (int64_t i = 0; i < cells; ++i) {
    const double up = static_cast<double>(i % release.stride) / static_cast<double>(release.stride);
    release.coarse_mass[i / release.stride] += release.mass[i] * (1 - up);
    release.coarse_mass[i / release.stride + 1] += release.mass[i] * up;
  }
  return release;
}

// log of the sum of mass e^(rate x loss); `masses` lie `stride` cells apart, from `first` on.
double LogMoment(const std::vector<double>& masses, int64_t first, int64_t stride, double step,
                 double rate) {
  double sum = 0, top = -kInfinity;
  for (size_t i = 0; i < masses.size(); ++i) {
    if (masses[i] <= 0) continue;
    const int64_t cell = first + static_cast<int64_t>(i) * stride;
    const double exponent = rate * static_cast<double>(cell) * step;
    if (exponent > top) {  // rescale what is there
      sum *= std::exp(top - exponent);
      top = exponent;
    }
    sum += masses[i] * std::exp(exponent - top);
  }
  return top + std::log(sum);
}

// All releases of one direction on one grid.
struct Composition {
  double step = 0;
  std::vector<Release> releases;

  double LogMomentBound(double rate) const {
    double sum = 0;
    for (const Release& r : releases)
      sum += static_cast<double>(r.steps) * LogMoment(r.coarse_mass, r.first, r.stride, step, rate);
    return sum;
  }
  double lost() const {
    double log_kept = 0;
    for (const Release& r : releases)
      log_kept += static_cast<double>(r.steps) * std::log1p(-r.lost);
    return -std::expm1(log_kept);
  }
  int64_t steps() const {
    int64_t sum = 0;
    for (const Release& r : releases) sum += r.steps;
    return sum;
  }
};

// A rate and the logarithm of the moment bound there, for every rate that is tried.
using MomentTable = std::vector<std::pair<double, double>>;

MomentTable TabulateMoments(const Composition& c) {
  MomentTable table;
  for (double rate = 0x1p-16; rate <= 0x1p30; rate *= 1.3) {
    const double value = c.LogMomentBound(rate);
    if (!std::isfinite(value)) break;
    table.emplace_back(rate, value);
  }
  return table;
}

// The sum of all losses, tilted: mass[i] e^(log_scale - rate L) is the mass at L = (first + i)
// step.
struct TiltedSum {
  double step = 0, rate = 0, log_scale = 0, lost = 0, error = 0;
  int64_t first = 0;
  std::vector<double> mass;

  double LossAt(int64_t i) const { return static_cast<double>(first + i) * step; }
  double MassAt(int64_t i) const {
    return mass[i] > 0 ? std::exp(std::log(mass[i]) + log_scale - rate * LossAt(i)) : 0;
  }
};

// The window of losses that decides: above it lies less than `cut` of the mass, and on either side
// less than kWrapped of the tilted mass (by Chernoff's bound).
struct Window {
  double low = 0, high = 0;
};
Window WindowOf(const Composition& c, const MomentTable& table, double rate, double log_scale,
                double cut) {
  double all = kInfinity, tilted = kInfinity;
  for (const auto& [tried, log_moment] : table) {
    all = std::min(all, (log_moment - std::log(cut)) / tried);
    if (tried <= rate) continue;
    tilted = std::min(tilted, (log_moment - log_scale - std::log(kWrapped)) / (tried - rate));
  }
  Window window{.low = -kInfinity, .high = std::isfinite(tilted) ? std::max(all, tilted) : all};
  for (double down = rate * 0x1p-6; down < rate * 0x1p6 + 0x1p6; down *= 1.3) {
    const double log_moment = c.LogMomentBound(rate - down);
    window.low = std::max(window.low, -(log_moment - log_scale - std::log(kWrapped)) / down);
  }
  return window;
}

struct Tilt {
  double rate = 0, log_scale = 0;
  std::vector<double> log_moments;  // of each release
  Window window;

  double cells(double step) const { return (window.high - window.low) / step + 2; }
};

// The rate wished for, or a part of it where that leaves a narrower window: with rare large losses
// the full rate would fatten their tail.  Rounding errors then weigh more, but the least part still
// leaves them below 1e-16 delta^(-3/4), relatively.
Tilt ChooseTilt(const Composition& c, const MomentTable& table, double wished, double cut) {
  Tilt best;
  for (const double part : {1.0, 0.75, 0.5, 0.25}) {
    Tilt tilt;
    tilt.rate = wished * part;
    for (const Release& r : c.releases) {
      tilt.log_moments.push_back(LogMoment(r.mass, r.first, 1, c.step, tilt.rate));
      tilt.log_scale += static_cast<double>(r.steps) * tilt.log_moments.back();
    }
    tilt.window = WindowOf(c, table, tilt.rate, tilt.log_scale, cut);
    if (part == 1 || tilt.cells(c.step) < 0.5 * best.cells(c.step)) best = std::move(tilt);
    if (best.cells(c.step) <= static_cast<double>(4 * kWishedCells)) break;
  }
  return best;
}

// nullopt: the window does not fit the grid.
std::optional<TiltedSum> Convolve(const Composition& c, const MomentTable& table, double wished,
                                  double cut) {
  const Tilt tilt = ChooseTilt(c, table, wished, cut);
  const double cells = tilt.cells(c.step);
  if (!(cells <= static_cast<double>(kLargestGrid))) return std::nullopt;
  int64_t size = 2;
  while (static_cast<double>(size) < cells) size *= 2;
  std::vector<std::complex<double>> product(size, 1.0), values;
  int64_t offset = 0;
  for (size_t e = 0; e < c.releases.size(); ++e) {
    const Release& r = c.releases[e];
    values.assign(size, 0.0);
    for (size_t i = 0; i < r.mass.size(); ++i) {
      if (r.mass[i] <= 0) continue;
      const double loss = static_cast<double>(r.first + static_cast<int64_t>(i)) * c.step;
      values[i % size] += r.mass[i] * std::exp(tilt.rate * loss - tilt.log_moments[e]);
    }
    Fourier(&values, false);
    const double steps = static_cast<double>(r.steps);
    for (int64_t i = 0; i < size; ++i)
      product[i] *= r.steps == 1 ? values[i] : std::pow(values[i], steps);
    offset += r.steps * r.first;
  }
  Fourier(&product, true);
  TiltedSum sum{.step = c.step, .rate = tilt.rate, .log_scale = tilt.log_scale, .mass = {}};
  sum.first = static_cast<int64_t>(std::floor(tilt.window.low / c.step));
  sum.mass.resize(size);
  for (int64_t i = 0; i < size; ++i) {
    const int64_t cell = (((sum.first + i - offset) % size) + size) % size;
    sum.mass[i] = std::max(0.0, product[cell].real() / static_cast<double>(size));
  }
  sum.lost = c.lost() + cut;
  sum.error = kCutShare + 1e-14 * static_cast<double>(c.steps());  // of rounding, relative to delta
  return sum;
}

// The smallest epsilon >= 0 with delta(epsilon) <= delta.  Between grid points delta(epsilon) is
// A - e^(epsilon - L) B, where B is kept relative to the loss L of the lowest point above.
double EpsilonOf(const TiltedSum& sum, double wanted) {
  const double delta = wanted * (1 - sum.error);
  if (sum.lost >= delta) return kInfinity;
  double above = sum.lost, other = 0, next = 0;
  bool crosses_zero = false;
  for (int64_t i = static_cast<int64_t>(sum.mass.size()) - 1; i >= 0 && !crosses_zero; --i) {
    const double loss = sum.LossAt(i);
    crosses_zero = loss <= 0;
    const double other_here = other * std::exp(-std::min(sum.step, next));
    if (other > 0 && above - other_here > delta)
      return std::max(0.0, next + std::log((above - delta) / other));
    const double mass = sum.MassAt(i);
    above += mass;
    other = other_here + mass;
    next = loss;
  }
  return crosses_zero ? 0 : next;  // below the window the masses are not known
}

double DeltaOf(const TiltedSum& sum, double epsilon) {
  double delta = 0;
  for (int64_t i = static_cast<int64_t>(sum.mass.size()) - 1; i >= 0; --i) {
    const double loss = sum.LossAt(i);
    if (loss <= epsilon) break;
    delta -= sum.MassAt(i) * std::expm1(epsilon - loss);
  }
  return std::min(1.0, sum.lost + delta * (1 + sum.error));
}

absl::Status CheckEvents(std::span<const GaussianEvent> events) {
  if (events.empty() || events.size() > kLargestEvents) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "privacy loss: expected 1 to %d events, got %d", kLargestEvents, events.size()));
  }
  for (const GaussianEvent& event : events) {
    if (!(event.noise_multiplier > 0.05 && event.noise_multiplier < 1e6) ||
        !(event.sampling_rate > 0 && event.sampling_rate <= 1) || event.steps < 1) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "privacy loss: expected a noise multiplier in (0.05, 1e6), a sampling rate in (0, 1] and "
          "at least 1 step, got %g, %g and %d",
          event.noise_multiplier, event.sampling_rate, event.steps));
    }
  }
  return absl::OkStatus();
}

// Without sampling both directions have the same losses.
bool IsUnsampled(std::span<const GaussianEvent> events) {
  return std::all_of(events.begin(), events.end(),
                     [](const GaussianEvent& event) { return event.sampling_rate == 1; });
}

double WishedStep(std::span<const GaussianEvent> events) {
  double squares = 0;
  for (const GaussianEvent& event : events) {
    const Mechanism m{.sigma = event.noise_multiplier, .q = event.sampling_rate};
    squares += static_cast<double>(event.steps) * m.SquaredLoss();
  }
  return std::min(kCoarsestWish, kWidth * std::sqrt(squares) / static_cast<double>(kWishedCells));
}

// The sum of all losses of one direction, tilted for this goal, on the finest grid that fits.
template <typename RateOf>
absl::StatusOr<TiltedSum> SumOfLosses(std::span<const GaussianEvent> events, bool remove,
                                      double delta, const RateOf& rate_of) {
  int64_t steps = 0;
  for (const GaussianEvent& event : events) steps += event.steps;
  const double cut = kCutShare / 4 * delta;
  const double reach = ReachOf(cut / static_cast<double>(steps));
  for (double step = WishedStep(events); step < 1e9; step *= 2) {
    Composition composition{.step = step, .releases = {}};
    for (const GaussianEvent& event : events) {
      const Mechanism m{.sigma = event.noise_multiplier, .q = event.sampling_rate};
      std::optional<Release> release = Discretize(m, remove, step, reach);
      if (!release) break;
      release->steps = event.steps;
      composition.releases.push_back(*std::move(release));
    }
    if (composition.releases.size() < events.size()) continue;
    const MomentTable table = TabulateMoments(composition);
    if (table.empty()) continue;
    std::optional<TiltedSum> sum = Convolve(composition, table, rate_of(table), cut);
    if (sum) return *std::move(sum);
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("privacy loss: expected losses that a grid of %d cells fits", kLargestGrid));
}

}  // namespace

absl::StatusOr<double> LossEpsilon(std::span<const GaussianEvent> events, double delta) {
  RETURN_IF_ERROR(CheckEvents(events));
  if (!(delta >= kSmallestDelta && delta < 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("delta: expected a number in (0, 1), got %g", delta));
  }
  // The rate of the best Chernoff bound at this delta.
  const auto rate_of = [delta](const MomentTable& table) {
    const auto epsilon = [delta](const std::pair<double, double>& row) {
      return (row.second - std::log(delta)) / row.first;
    };
    return std::min_element(table.begin(), table.end(),
                            [&](const auto& a, const auto& b) { return epsilon(a) < epsilon(b); })
        ->first;
  };
  double worst = 0;
  for (const bool remove : {true, false}) {
    ASSIGN_OR_RETURN(const TiltedSum sum, SumOfLosses(events, remove, delta, rate_of));
    worst = std::max(worst, EpsilonOf(sum, delta));
    if (IsUnsampled(events)) break;
  }
  return worst;
}

absl::StatusOr<double> LossDelta(std::span<const GaussianEvent> events, double epsilon) {
  RETURN_IF_ERROR(CheckEvents(events));
  if (!(epsilon >= 0 && epsilon <= 1e9)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("epsilon: expected a number in [0, 1e9], got %g", epsilon));
  }
  const auto log_delta = [epsilon](const std::pair<double, double>& row) {
    return row.second - row.first * epsilon;
  };
  const auto rate_of = [&](const MomentTable& table) {
    return std::min_element(
               table.begin(), table.end(),
               [&](const auto& a, const auto& b) { return log_delta(a) < log_delta(b); })
        ->first;
  };
  double worst = 0;
  for (const bool remove : {true, false}) {
    // What is cut off must be small against delta, which is not known: from a guess downwards.
    double guess = 1e-12, delta = 0;
    for (int attempt = 0; attempt < kDeltaGuesses && delta < guess; ++attempt) {
      if (attempt > 0) guess = std::max(guess * kDeltaGuessFactor, kSmallestDelta);
      ASSIGN_OR_RETURN(const TiltedSum sum, SumOfLosses(events, remove, guess, rate_of));
      delta = DeltaOf(sum, epsilon);
    }
    worst = std::max(worst, delta);
    if (IsUnsampled(events)) break;
  }
  return worst;
}

}  // namespace lorikeet
