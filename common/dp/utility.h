// What a noised mean is still worth, and the rule that says when it is not worth releasing.
//
// The sum of a round carries noise of one deviation in every coordinate.  The mean of what the
// devices of one persona learned divides it by their number: its noise, as a vector over the
// persona's core, against the largest change one device may contribute.  Above kLargestNoiseRatio
// the release would be mostly noise, and is not made.
#ifndef LORIKEET_COMMON_DP_UTILITY_H_
#define LORIKEET_COMMON_DP_UTILITY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace lorikeet {

inline constexpr double kLargestNoiseRatio = 0.3;

// L2 norm of the noise in a mean over the clip norm.  `deviation`: of the sum's noise in every
// coordinate, in clip norms; `dimension`: of the mean; `devices`: whose mean it is.
double NoiseRatio(double deviation, int64_t dimension, double devices);

struct UtilityRequest {
  int64_t clients = 0;    // in the round
  int personas = 1;       // among which they are spread evenly
  int64_t dimension = 0;  // of a persona's core
  int rounds = 1;         // that share the budget
  double epsilon = 0;
  double delta = 1e-6;
};

// What would bring the ratio down to kLargestNoiseRatio, everything else as it is.
struct Utility {
  double noise_multiplier = 0;  // the sum's noise, in clip norms
  double noise_ratio = 0;
  bool release = false;
  int64_t clients_needed = 0;
  int64_t dimension_needed = 0;  // at most; 0: not even one
  double epsilon_needed = 0;
};
// By the exact Gaussian, which Skellam noise at a fine scale comes close to.
// INVALID_ARGUMENT: out of range.
absl::StatusOr<Utility> UtilityOf(const UtilityRequest& request);

// What to change: "4096 or more devices, at most 512 numbers in a core, or epsilon of 3.2 or more".
std::string UtilityAdvice(const Utility& utility);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_UTILITY_H_
