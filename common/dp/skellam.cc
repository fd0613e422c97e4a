#include "common/dp/skellam.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

__extension__ using Uint128 = unsigned __int128;

constexpr int kFractionBits = 112;  // the sum of a table stays below 2^126
constexpr int kMeanBits = 32;
constexpr int kGuideBits = 12;
constexpr double kLargestMean = 0x1p28;
constexpr double kLargestPiece = 0x1p20;  // bounds the table to some 40,000 entries

// floor(w * numerator / denominator) for w < 2^122, numerator and denominator < 2^63 with a result
// below 2^122.
Uint128 MultiplyDivide(Uint128 w, uint64_t numerator, uint64_t denominator) {
  const Uint128 low = static_cast<Uint128>(static_cast<uint64_t>(w)) * numerator;
  const Uint128 high =
      static_cast<Uint128>(static_cast<uint64_t>(w >> 64)) * numerator + (low >> 64);
  // Long division of the 192-bit product, one 64-bit digit at a time.
  const Uint128 top_quotient = high / denominator;
  const Uint128 rest = high % denominator << 64 | static_cast<uint64_t>(low);
  return (top_quotient << 64) + rest / denominator;
}

}  // namespace

absl::StatusOr<PoissonSampler> PoissonSampler::Create(double mean) {
  if (!(mean > 0 && mean <= kLargestMean)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("Poisson mean: expected a number in (0, 2^28], got %g", mean));
  }
  PoissonSampler sampler;
  while (mean > kLargestPiece) {
    mean /= 2;
    sampler.pieces_ *= 2;
  }
  const uint64_t scaled_mean = static_cast<uint64_t>(std::ceil(mean * 0x1p32));
  const uint64_t mode = scaled_mean >> kMeanBits;
  // Weights relative to the mode, p(k + 1) / p(k) = mean / (k + 1), out to where they vanish in
  // fixed point.
  const Uint128 one = static_cast<Uint128>(1) << kFractionBits;
  std::vector<Uint128> below, above;
  Uint128 weight = one;
  for (uint64_t k = mode; k > 0 && weight > 0; --k) {
    weight = MultiplyDivide(weight, k << kMeanBits, scaled_mean);
    below.push_back(weight);
  }
  weight = one;
  for (uint64_t k = mode + 1; weight > 0; ++k) {
    weight = MultiplyDivide(weight, scaled_mean, k << kMeanBits);
    above.push_back(weight);
  }
  std::vector<Uint128> weights(below.rbegin(), below.rend());
  weights.push_back(one);
  weights.insert(weights.end(), above.begin(), above.end());
  sampler.first_ = mode - below.size();
  Uint128 sum = 0;
  for (Uint128 w : weights) sampler.cumulative_.push_back(sum += w);
  while (sum >> sampler.bits_ != 0) ++sampler.bits_;
  const int shift = sampler.bits_ - kGuideBits;
  uint32_t entry = 0;
  for (uint64_t lead = 0; lead <= uint64_t{1} << kGuideBits; ++lead) {
    const Uint128 start = static_cast<Uint128>(lead) << shift;
    while (entry + 1 < sampler.cumulative_.size() && sampler.cumulative_[entry] <= start) ++entry;
    sampler.guide_.push_back(entry);
  }
  return sampler;
}

uint64_t PoissonSampler::SamplePiece(RandomSource* random) const {
  const Uint128 mask = (static_cast<Uint128>(1) << bits_) - 1;
  Uint128 u;
  do {  // uniform below the sum of the table; accepts at least every second try on average
    const uint64_t high = random->Uint64();
    u = (static_cast<Uint128>(high) << 64 | random->Uint64()) & mask;
  } while (u >= cumulative_.back());
  const size_t lead = static_cast<size_t>(u >> (bits_ - kGuideBits));
  const auto begin = cumulative_.begin();
  const auto found = std::upper_bound(begin + guide_[lead], begin + guide_[lead + 1], u);
  return first_ + static_cast<uint64_t>(found - begin);
}

uint64_t PoissonSampler::Sample(RandomSource* random) const {
  uint64_t sum = 0;
  for (int piece = 0; piece < pieces_; ++piece) sum += SamplePiece(random);
  return sum;
}

absl::StatusOr<SkellamSampler> SkellamSampler::Create(double variance) {
  absl::StatusOr<PoissonSampler> half = PoissonSampler::Create(variance / 2);
  if (!half.ok()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("Skellam variance: expected a number in (0, 2^29], got %g", variance));
  }
  return SkellamSampler(std::move(half).value());
}

int64_t SkellamSampler::Sample(RandomSource* random) const {
  const uint64_t plus = half_.Sample(random);
  return static_cast<int64_t>(plus) - static_cast<int64_t>(half_.Sample(random));
}

}  // namespace lorikeet
