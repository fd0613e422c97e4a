// Mask expansion: ChaCha20-IETF keystreams added to or subtracted from a vector of machine words.
//
// Elements live modulo 2^m; they are added modulo 2^32 and cut to m bits once at the end, since 2^m
// divides 2^32.  For m <= 16 an element takes two keystream bytes, else four, little-endian.  Nonce
// zero: a mask key is used for one stream.  Constant time in keys and words.
#ifndef LORIKEET_COMMON_SECAGG_MASKS_H_
#define LORIKEET_COMMON_SECAGG_MASKS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/thread_pool.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

struct Mask {
  SecretBytes key;  // 32 bytes
  bool subtract = false;
};

// Who expands the streams: libsodium, or our own vector code (mask_kernels.h).
enum class MaskEngine { kLibsodium, kAvx2, kAvx512 };
// What this machine can run, the fastest last.
std::vector<MaskEngine> MaskEngines();

// words[i] +-= stream of every mask, modulo 2^modulus_bits.  The vector is gone through once, in
// pieces that stay in the cache; `pool` (may be null) shares the pieces out.  The result depends on
// neither pool nor engine.  REQUIRES: words.size() <= 2^30, 1 <= modulus_bits <= 32, keys of 32
// bytes.
void AddMasks(std::span<const Mask> masks, int modulus_bits, std::span<uint32_t> words,
              ThreadPool* pool = nullptr);
// The same by an engine of one's choice.  REQUIRES: it is among MaskEngines().
void AddMasksWith(MaskEngine engine, std::span<const Mask> masks, int modulus_bits,
                  std::span<uint32_t> words, ThreadPool* pool = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_MASKS_H_
