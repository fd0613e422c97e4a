// From a clipped real vector to noised integers modulo 2^m, and from the sum of many back to a real
// vector.
//
// Per device (Skellam: arXiv 2110.04995; rounding: arXiv 2102.06387): pad to a power of two, flip
// signs by public randomness of the round, Walsh-Hadamard, scale by s, stochastic rounding repeated
// until the norm bound holds, add Skellam or discrete Gaussian noise of variance (sigma_local s)^2,
// reduce modulo 2^m.
#ifndef LORIKEET_COMMON_DP_ENCODER_H_
#define LORIKEET_COMMON_DP_ENCODER_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/base/random.h"

namespace lorikeet {

// What is added to the rounded vector.  Skellam noise sums to Skellam noise exactly; discrete
// Gaussian noise only nearly, which is accounted for.
enum class NoiseKind : uint8_t { kSkellam = 0, kDiscreteGaussian = 1 };
// "skellam", "discrete-gaussian".
std::string_view NoiseKindName(NoiseKind noise);
absl::StatusOr<NoiseKind> ParseNoiseKind(std::string_view name);

inline constexpr double kModulusDeviations = 4;  // K of RequiredModulusBits
inline constexpr double kLargestScaledNorm = 0x1p40;

struct EncodingParameters {
  int64_t dimension = 0;       // of the real vector, before padding
  double clip_norm = 1.0;      // c, L2
  double scale = 0;            // s, integer units per real unit
  double sigma_local = 0;      // noise standard deviation of one device's share, in real units
  int modulus_bits = 0;        // m
  Hash256 rotation_seed = {};  // public, fresh each round
  NoiseKind noise = NoiseKind::kSkellam;

  int64_t padded_dimension()
      const;  // smallest power of two >= dimension: the d of secure aggregation
};

// A vector with L2 norm <= clip_norm.  Made only by Clip.
class ClippedDelta {
 public:
  std::span<const float> values() const { return values_; }
  double norm_bound() const { return norm_bound_; }    // the clip norm it was made for
  double clip_factor() const { return clip_factor_; }  // 1 when nothing was cut

 private:
  friend absl::StatusOr<ClippedDelta> Clip(std::vector<float> values, double clip_norm);
  std::vector<float> values_;
  double clip_factor_ = 1;
  double norm_bound_ = 0;
};
// INVALID_ARGUMENT: a value is not finite, or clip_norm is not positive.
absl::StatusOr<ClippedDelta> Clip(std::vector<float> values, double clip_norm);

// Integers modulo 2^m with the device's noise share inside.  Made only by Encode; consumed only by
// masking.
class EncodedDelta {
 public:
  const std::vector<uint32_t>& words() const { return words_; }  // [padded_dimension]
  // Of any length: what masking costs and computes does not depend on the encoding.
  static EncodedDelta ForTest(std::vector<uint32_t> words) {
    EncodedDelta delta;
    delta.words_ = std::move(words);
    return delta;
  }

 private:
  friend absl::StatusOr<EncodedDelta> Encode(const ClippedDelta&, const EncodingParameters&,
                                             RandomSource*);
  std::vector<uint32_t> words_;
};
// INVALID_ARGUMENT: parameters out of range, another dimension, or clipped to a larger norm than
// parameters.clip_norm.
absl::StatusOr<EncodedDelta> Encode(const ClippedDelta& delta, const EncodingParameters& parameters,
                                    RandomSource* random);

// Adds noise that was made in real numbers, [padded_dimension] and spherical, to a sum modulo 2^m:
// turned, scaled and rounded as a contribution is, before the modulus is taken.  What comes out
// depends on the noised sum alone: not on whether the sum wrapped around without it, nor on the
// last bits of floating-point noise. INVALID_ARGUMENT: other lengths, or parameters out of range.
absl::Status AddToSum(std::vector<double> noise, const EncodingParameters& parameters,
                      std::span<uint32_t> sum);

// Sum modulo 2^m of encoded vectors -> real sum, [dimension].
absl::StatusOr<std::vector<float>> DecodeSum(std::span<const uint32_t> sum,
                                             const EncodingParameters& parameters);

// Smallest m with 2^m >= 2 K sqrt(c^2 n^2 / d + n (1 / (4 s^2) + sigma_local^2)) s, K = 4, at least
// 8: the sum of `clients` contributions then wraps around with negligible probability (arXiv
// 2102.06387, section 4.2). INVALID_ARGUMENT when no modulus up to 32 bits fits.
absl::StatusOr<int> RequiredModulusBits(const EncodingParameters& parameters, int clients);

// Largest L2 norm, in integer units, of a vector of norm `scaled_norm` = c s after conditional
// rounding in `dimension` coordinates (arXiv 2102.06387, theorem 1, beta = e^-1/2).
double RoundedNormBound(double scaled_norm, int64_t dimension);

// INVALID_ARGUMENT says which field is out of range: dimension 1..2^28, clip_norm > 0, scale > 0,
// sigma_local >= 0 (0: no noise, no privacy), modulus_bits 8..32.
absl::Status ValidateEncoding(const EncodingParameters& parameters);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_ENCODER_H_
