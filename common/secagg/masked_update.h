// EncodedDelta -> MaskedUpdate: the two last steps before the wire.
//
// EncodedDelta is clipped, rotated, rounded and noised (common/dp/encoder.h) but not masked: it has
// no wire encoding. MaskedUpdate is the only update type with one (common/wire).  Only SecAggClient
// makes it.
#ifndef LORIKEET_COMMON_SECAGG_MASKED_UPDATE_H_
#define LORIKEET_COMMON_SECAGG_MASKED_UPDATE_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "common/secagg/messages.h"

namespace lorikeet {

// R2, client to server: x + PRG(b) + sum_{j > i} PRG(s_ij) - sum_{j < i} PRG(s_ij) modulo 2^m,
// packed to m bits.
struct MaskedUpdate {
  SessionId session = {};
  ClientIndex sender = 0;
  std::vector<uint8_t>
      packed;  // ceil(d m / 8) bytes, element 0 in the lowest bits (little-endian bit order)
};

// Packs words below 2^m to m bits each.  REQUIRES: 1 <= m <= 32.
std::vector<uint8_t> PackBits(std::span<const uint32_t> words, int modulus_bits);
// sum[i] += element i, modulo 2^32.  REQUIRES: packed.size() == ceil(sum.size() * modulus_bits /
// 8).
void AddPackedBits(std::span<const uint8_t> packed, int modulus_bits, std::span<uint32_t> sum);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_MASKED_UPDATE_H_
