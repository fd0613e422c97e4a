// Modulus and scale of a round: how likely a sum wraps around, and how few bits a budget needs.
//
// A wrapped coordinate costs accuracy, never privacy: reducing modulo 2^m happens after the noise.
#ifndef LORIKEET_COMMON_DP_MODULUS_H_
#define LORIKEET_COMMON_DP_MODULUS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/dp/encoder.h"

namespace lorikeet {

// Upper bounds (Chernoff) on probabilities over rotation, rounding and noise, for contributions
// that do not depend on the round's rotation.
struct OverflowBound {
  double coordinate = 1;  // that one given coordinate of the sum wraps around
  double any = 1;         // that some coordinate does
};
// For the worst case that all of `clients` contributions are the same vector of full norm.  Signal:
// sub-Gaussian over the random signs, with variance (c s n)^2 / d; rounding: n / 4, and at most
// 0.69 n away from mean 0 by the rounding's condition; noise: the moments of the kind it is.
// INVALID_ARGUMENT: parameters out of range.
absl::StatusOr<OverflowBound> SumOverflow(const EncodingParameters& parameters, int clients);

// The largest scale for which RequiredModulusBits is at most `modulus_bits`; parameters.scale and
// modulus_bits are ignored.  INVALID_ARGUMENT: so few bits hold not even the rounding of `clients`.
absl::StatusOr<double> ScaleForBits(const EncodingParameters& parameters, int clients,
                                    int modulus_bits);

struct BitsRequest {
  int clients = 0;           // of the largest cohort
  int honest_survivors = 0;  // whose noise is counted on
  int rounds = 1;
  double epsilon = 0;
  double delta = 0;
};
// `parameters` with the fewest modulus bits, and the largest scale they allow, for which `rounds`
// rounds stay within epsilon.  INVALID_ARGUMENT: not within 32 bits: the noise is too small.
absl::StatusOr<EncodingParameters> FewestBits(const EncodingParameters& parameters,
                                              const BitsRequest& request);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_MODULUS_H_
