// The public random rotation of a round: random signs, then the orthonormal Walsh-Hadamard
// transform.
//
// It spreads every vector evenly over its coordinates, so that the modulus can be small (arXiv
// 2102.06387, section 4.2).
#ifndef LORIKEET_COMMON_DP_ROTATION_H_
#define LORIKEET_COMMON_DP_ROTATION_H_

#include <span>

#include "common/base/hash.h"

namespace lorikeet {

// In place.  REQUIRES: values.size() is a power of two.
void Rotate(std::span<double> values, const Hash256& seed);
void InverseRotate(std::span<double> values, const Hash256& seed);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_ROTATION_H_
