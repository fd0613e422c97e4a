// Polynomials over the field of 2^61 - 1 elements, and decoding of Reed-Solomon codes with them.
//
// A polynomial is its coefficients, constant term first.  Not constant time: used on values that
// are being published.
#ifndef LORIKEET_COMMON_SECAGG_REED_SOLOMON_H_
#define LORIKEET_COMMON_SECAGG_REED_SOLOMON_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lorikeet {

using Polynomial = std::vector<uint64_t>;

uint64_t EvaluatePolynomial(const Polynomial& polynomial, uint64_t point);

// The polynomial of degree below points.size() through (points[i], values[i]), by Newton's divided
// differences, O(n^2). REQUIRES: points distinct.
Polynomial InterpolatePolynomial(std::span<const uint64_t> points,
                                 std::span<const uint64_t> values);

// The polynomial of degree below `dimension` that passes through all but at most (n - dimension) /
// 2 of the n pairs, or nothing.  Gao, "A new algorithm for decoding Reed-Solomon codes", 2003.
// O(n^2).  REQUIRES: points distinct.
std::optional<Polynomial> DecodeReedSolomon(std::span<const uint64_t> points,
                                            std::span<const uint64_t> values, int dimension);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_REED_SOLOMON_H_
