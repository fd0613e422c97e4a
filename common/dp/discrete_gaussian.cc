#include "common/dp/discrete_gaussian.h"

#include <bit>
#include <cmath>

#include "absl/strings/str_format.h"

namespace lorikeet {
namespace {

__extension__ using Uint128 = unsigned __int128;

constexpr int kFractionBits = 20;
constexpr double kLargestSquare = 0x1p29;
// Larger proposals are refused: with probability below e^-8000 one would have been accepted.
constexpr uint64_t kLargestMagnitude = uint64_t{1} << 28;

int BitWidth(Uint128 value) {
  const uint64_t high = static_cast<uint64_t>(value >> 64);
  return high != 0 ? 64 + std::bit_width(high) : std::bit_width(static_cast<uint64_t>(value));
}

// Uniform in 0 .. bound - 1.  REQUIRES: bound > 0.
Uint128 UniformBelow(Uint128 bound, RandomSource* random) {
  const int bits = BitWidth(bound - 1);
  if (bits == 0) return 0;
  while (true) {  // accepts at least every second try on average
    Uint128 value = random->Uint64();
    if (bits > 64) value = value << 64 | random->Uint64();
    value &= (static_cast<Uint128>(1) << bits) - 1;
    if (value < bound) return value;
  }
}

// e^(-numerator / denominator) for numerator <= denominator < 2^100: counts how long ever smaller
// coins come up heads; the series of e^-x is the probability of an odd count.
bool BernoulliExpUnit(Uint128 numerator, Uint128 denominator, RandomSource* random) {
  uint64_t k = 1;
  while (UniformBelow(denominator * k, random) < numerator) ++k;
  return k % 2 == 1;
}

bool BernoulliExp(Uint128 numerator, Uint128 denominator, RandomSource* random) {
  for (; numerator > denominator; numerator -= denominator) {
    if (!BernoulliExpUnit(1, 1, random)) return false;
  }
  return BernoulliExpUnit(numerator, denominator, random);
}

}  // namespace

bool SampleBernoulliExp(uint64_t numerator, uint64_t denominator, RandomSource* random) {
  return BernoulliExp(numerator, denominator, random);
}

int64_t SampleDiscreteLaplace(uint64_t scale, RandomSource* random) {
  while (true) {
    const uint64_t rest = static_cast<uint64_t>(UniformBelow(scale, random));
    if (!SampleBernoulliExp(rest, scale, random)) continue;
    uint64_t whole = 0;
    while (SampleBernoulliExp(1, 1, random)) ++whole;
    const uint64_t magnitude = rest + scale * whole;
    const bool is_negative = (random->Uint64() & 1) != 0;
    if (is_negative && magnitude == 0) continue;  // or 0 would be twice as likely
    return is_negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
  }
}

absl::StatusOr<DiscreteGaussianSampler> DiscreteGaussianSampler::Create(double sigma_squared) {
  if (!(sigma_squared > 0 && sigma_squared <= kLargestSquare)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "discrete Gaussian: expected a squared sigma in (0, 2^29], got %g", sigma_squared));
  }
  DiscreteGaussianSampler sampler;
  sampler.scaled_square_ =
      static_cast<uint64_t>(std::ceil(std::ldexp(sigma_squared, kFractionBits)));
  sampler.laplace_scale_ = static_cast<uint64_t>(std::sqrt(sigma_squared)) + 1;
  return sampler;
}

int64_t DiscreteGaussianSampler::Sample(RandomSource* random) const {
  const uint64_t t = laplace_scale_;
  const Uint128 denominator = (static_cast<Uint128>(scaled_square_) * t * t) << (kFractionBits + 1);
  while (true) {
    const int64_t value = SampleDiscreteLaplace(t, random);
    const uint64_t magnitude = static_cast<uint64_t>(value < 0 ? -value : value);
    if (magnitude > kLargestMagnitude) continue;
    // e^(-(|value| - sigma^2 / t)^2 / (2 sigma^2)), both sides of the fraction times 2^40 t^2.
    const uint64_t proposal = magnitude * t << kFractionBits;
    const uint64_t distance =
        proposal > scaled_square_ ? proposal - scaled_square_ : scaled_square_ - proposal;
    if (BernoulliExp(static_cast<Uint128>(distance) * distance, denominator, random)) return value;
  }
}

}  // namespace lorikeet
