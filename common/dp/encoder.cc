#include "common/dp/encoder.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <optional>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/discrete_gaussian.h"
#include "common/dp/rotation.h"
#include "common/dp/skellam.h"

namespace lorikeet {
namespace {

constexpr int64_t kLargestDimension = int64_t{1} << 28;
constexpr int kRoundingTries = 1000;  // each succeeds with probability at least 1 - e^-1/2

uint32_t ModulusMask(int modulus_bits) { return ~uint32_t{0} >> (32 - modulus_bits); }

// Rounds every coordinate up or down at random with the right mean; repeats until the norm bound
// holds, which keeps the sensitivity of the integer vector known.  The values of a failed try
// reveal nothing: they are thrown away.
absl::StatusOr<std::vector<int64_t>> RoundConditionally(std::span<const double> values,
                                                        double norm_bound, RandomSource* random) {
  std::vector<int64_t> rounded(values.size());
  for (int attempt = 0; attempt < kRoundingTries; ++attempt) {
    double squared_norm = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double floor = std::floor(values[i]);
      const double uniform = static_cast<double>(random->Uint64() >> 11) * 0x1p-53;
      rounded[i] = static_cast<int64_t>(floor) + (uniform < values[i] - floor ? 1 : 0);
      squared_norm += static_cast<double>(rounded[i]) * static_cast<double>(rounded[i]);
    }
    if (squared_norm <= norm_bound * norm_bound) return rounded;
  }
  return absl::InternalError(
      absl::StrFormat("rounding: no try in %d kept the norm under %g", kRoundingTries, norm_bound));
}

absl::Status AddNoise(NoiseKind kind, double variance, RandomSource* random,
                      std::span<int64_t> values) {
  if (kind == NoiseKind::kSkellam) {
    ASSIGN_OR_RETURN(const SkellamSampler noise, SkellamSampler::Create(variance));
    for (int64_t& value : values) value += noise.Sample(random);
  } else {
    ASSIGN_OR_RETURN(const DiscreteGaussianSampler noise,
                     DiscreteGaussianSampler::Create(variance));
    for (int64_t& value : values) value += noise.Sample(random);
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view NoiseKindName(NoiseKind noise) {
  return noise == NoiseKind::kSkellam ? "skellam" : "discrete-gaussian";
}

absl::StatusOr<NoiseKind> ParseNoiseKind(std::string_view name) {
  for (const NoiseKind noise : {NoiseKind::kSkellam, NoiseKind::kDiscreteGaussian}) {
    if (name == NoiseKindName(noise)) return noise;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("noise: expected skellam or discrete-gaussian, got '%s'", ToAbsl(name)));
}

int64_t EncodingParameters::padded_dimension() const {
  return dimension <= 1 ? 1 : static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(dimension)));
}

absl::Status ValidateEncoding(const EncodingParameters& p) {
  if (p.dimension < 1 || p.dimension > kLargestDimension) {
    return absl::InvalidArgumentError(
        absl::StrFormat("dimension: expected 1..2^28, got %d", p.dimension));
  }
  if (!(p.clip_norm > 0 && std::isfinite(p.clip_norm))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("clip norm: expected a positive number, got %g", p.clip_norm));
  }
  if (!(p.scale > 0 && std::isfinite(p.scale))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("scale: expected a positive number, got %g", p.scale));
  }
  if (!(p.clip_norm * p.scale <= kLargestScaledNorm)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "clip norm times scale: expected at most 2^40, got %g", p.clip_norm * p.scale));
  }
  if (!(p.sigma_local >= 0 && std::isfinite(p.sigma_local))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("local sigma: expected a number >= 0, got %g", p.sigma_local));
  }
  if (p.modulus_bits < 8 || p.modulus_bits > 32) {
    return absl::InvalidArgumentError(
        absl::StrFormat("modulus bits: expected 8..32, got %d", p.modulus_bits));
  }
  return absl::OkStatus();
}

double RoundedNormBound(double scaled_norm, int64_t dimension) {
  const double d = static_cast<double>(dimension);
  const double worst = scaled_norm + std::sqrt(d);
  // sqrt(2 ln(1 / beta)) = 1 for beta = e^-1/2.
  const double likely =
      std::sqrt(scaled_norm * scaled_norm + d / 4 + (scaled_norm + std::sqrt(d) / 2));
  return std::min(worst, likely);
}

absl::StatusOr<ClippedDelta> Clip(std::vector<float> values, double clip_norm) {
  if (!(clip_norm > 0 && std::isfinite(clip_norm))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("clip norm: expected a positive number, got %g", clip_norm));
  }
  double squared_norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return absl::InvalidArgumentError(
          absl::StrFormat("update: expected finite numbers, got another at position %d", i));
    }
    squared_norm += static_cast<double>(values[i]) * values[i];
  }
  ClippedDelta delta;
  delta.norm_bound_ = clip_norm;
  if (squared_norm > clip_norm * clip_norm) {
    // A hair less, so that rounding to float cannot put the norm above the bound.
    delta.clip_factor_ = clip_norm / std::sqrt(squared_norm) * (1 - 0x1p-20);
    for (float& value : values) value = static_cast<float>(value * delta.clip_factor_);
  }
  delta.values_ = std::move(values);
  return delta;
}

absl::StatusOr<EncodedDelta> Encode(const ClippedDelta& delta, const EncodingParameters& parameters,
                                    RandomSource* random) {
  RETURN_IF_ERROR(ValidateEncoding(parameters));
  if (static_cast<int64_t>(delta.values().size()) != parameters.dimension) {
    return absl::InvalidArgumentError(absl::StrFormat("update: expected %d numbers, got %d",
                                                      parameters.dimension, delta.values().size()));
  }
  if (delta.norm_bound() > parameters.clip_norm) {
    return absl::InvalidArgumentError(
        absl::StrFormat("update: expected one clipped to norm %g, got %g", parameters.clip_norm,
                        delta.norm_bound()));
  }
  const int64_t padded = parameters.padded_dimension();
  std::vector<double> values(delta.values().begin(), delta.values().end());
  values.resize(padded, 0.0);
  Rotate(values, parameters.rotation_seed);
  for (double& value : values) value *= parameters.scale;
  const double bound = RoundedNormBound(parameters.clip_norm * parameters.scale, padded);
  // Several numbers a coordinate are drawn: from a stream, a system call for each would be most of
  // the time.
  std::array<uint8_t, 32> seed;
  random->Fill(seed);
  SeededRandom stream(seed);
  sodium_memzero(seed.data(), seed.size());
  ASSIGN_OR_RETURN(std::vector<int64_t> rounded, RoundConditionally(values, bound, &stream));
  const double deviation = parameters.sigma_local * parameters.scale;
  if (deviation > 0) {
    RETURN_IF_ERROR(AddNoise(parameters.noise, deviation * deviation, &stream, rounded));
  }
  EncodedDelta encoded;
  encoded.words_.resize(padded);
  const uint32_t mask = ModulusMask(parameters.modulus_bits);
  for (int64_t i = 0; i < padded; ++i) encoded.words_[i] = static_cast<uint32_t>(rounded[i]) & mask;
  return encoded;
}

absl::Status AddToSum(std::vector<double> noise, const EncodingParameters& parameters,
                      std::span<uint32_t> sum) {
  RETURN_IF_ERROR(ValidateEncoding(parameters));
  const size_t padded = static_cast<size_t>(parameters.padded_dimension());
  if (noise.size() != padded || sum.size() != padded) {
    return absl::InvalidArgumentError(
        absl::StrFormat("noise of a sum: expected %d numbers and words, got %d and %d", padded,
                        noise.size(), sum.size()));
  }
  Rotate(noise, parameters.rotation_seed);
  const uint32_t mask = ModulusMask(parameters.modulus_bits);
  for (size_t i = 0; i < padded; ++i) {
    const double whole = std::nearbyint(noise[i] * parameters.scale);
    // Exact, and within 32 bits and a sign.
    const auto reduced = static_cast<int64_t>(std::fmod(whole, 0x1p32));
    sum[i] = (sum[i] + static_cast<uint32_t>(reduced)) & mask;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> DecodeSum(std::span<const uint32_t> sum,
                                             const EncodingParameters& parameters) {
  RETURN_IF_ERROR(ValidateEncoding(parameters));
  const int64_t padded = parameters.padded_dimension();
  if (static_cast<int64_t>(sum.size()) != padded) {
    return absl::InvalidArgumentError(
        absl::StrFormat("sum: expected %d words, got %d", padded, sum.size()));
  }
  const uint32_t mask = ModulusMask(parameters.modulus_bits);
  const int64_t modulus = int64_t{1} << parameters.modulus_bits;
  std::vector<double> values(padded);
  for (int64_t i = 0; i < padded; ++i) {
    if ((sum[i] & ~mask) != 0) {
      return absl::InvalidArgumentError(absl::StrFormat("sum: expected words below 2^%d, got %d",
                                                        parameters.modulus_bits, sum[i]));
    }
    const int64_t centred = sum[i] >= modulus / 2 ? sum[i] - modulus : sum[i];
    values[i] = static_cast<double>(centred) / parameters.scale;
  }
  InverseRotate(values, parameters.rotation_seed);
  return std::vector<float>(values.begin(), values.begin() + parameters.dimension);
}

absl::StatusOr<int> RequiredModulusBits(const EncodingParameters& parameters, int clients) {
  EncodingParameters checked = parameters;
  checked.modulus_bits = 32;
  RETURN_IF_ERROR(ValidateEncoding(checked));
  if (clients < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("clients: expected at least 1, got %d", clients));
  }
  const double d = static_cast<double>(parameters.padded_dimension()), n = clients,
               c = parameters.clip_norm, s = parameters.scale;
  const double variance =
      c * c * n * n / d + n * (1 / (4 * s * s) + parameters.sigma_local * parameters.sigma_local);
  const double range = 2 * kModulusDeviations * std::sqrt(variance) * s;
  const int bits = std::max(8, static_cast<int>(std::ceil(std::log2(range))));
  if (bits > 32) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "modulus: expected at most 32 bits, need %d for %d clients at scale %g", bits, clients, s));
  }
  return bits;
}

}  // namespace lorikeet
