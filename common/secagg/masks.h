// Mask expansion: ChaCha20-IETF keystreams added to or subtracted from a vector of machine words.
//
// Elements live modulo 2^m; they are added modulo 2^32 and cut to m bits once at the end, since 2^m
// divides 2^32.  For m
// <= 16 an element takes two keystream bytes, else four, little-endian.  Nonce zero: a mask key is
// used for one stream.
#ifndef LORIKEET_COMMON_SECAGG_MASKS_H_
#define LORIKEET_COMMON_SECAGG_MASKS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "common/crypto/secret_bytes.h"

namespace lorikeet {

struct Mask {
  SecretBytes key;  // 32 bytes
  bool subtract = false;
};

// words[i] +-= stream of every mask, modulo 2^modulus_bits.  REQUIRES: words.size() <= 2^30.
void AddMasks(std::span<const Mask> masks, int modulus_bits, std::span<uint32_t> words);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_MASKS_H_
