// Arithmetic modulo the Mersenne prime 2^61 - 1, constant time in the operands.
#ifndef LORIKEET_COMMON_SECAGG_FIELD_H_
#define LORIKEET_COMMON_SECAGG_FIELD_H_

#include <cstdint>

namespace lorikeet::field {

inline constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;

// x < 2 p -> x mod p, without a branch.
inline uint64_t Reduce(uint64_t x) {
  const uint64_t y = x - kPrime;
  const uint64_t borrow = 0 - (y >> 63);  // all ones when x < p
  return y + (kPrime & borrow);
}

// REQUIRES for all: a, b < kPrime.
inline uint64_t Add(uint64_t a, uint64_t b) { return Reduce(a + b); }
inline uint64_t Subtract(uint64_t a, uint64_t b) { return Reduce(a + kPrime - b); }
inline uint64_t Multiply(uint64_t a, uint64_t b) {
  __extension__ using Uint128 = unsigned __int128;
  const Uint128 product = static_cast<Uint128>(a) * b;
  // 2^61 = 1 mod p: fold the high part onto the low one.
  return Reduce((static_cast<uint64_t>(product) & kPrime) + static_cast<uint64_t>(product >> 61));
}
// a^(p - 2); 0 for 0.  The exponent is public.
inline uint64_t Invert(uint64_t a) {
  uint64_t result = 1, power = a;
  for (uint64_t exponent = kPrime - 2; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = Multiply(result, power);
    power = Multiply(power, power);
  }
  return result;
}

}  // namespace lorikeet::field

#endif  // LORIKEET_COMMON_SECAGG_FIELD_H_
