// Sums of ChaCha20-IETF keystreams (RFC 8439) of many keys, without writing the streams down.
//
// A vector register holds one word of 8 or 16 blocks.  The streams of all keys are added up in that
// order and put into stream order once at the end, so a mask costs its cipher and little more. The
// same bytes as libsodium's, which stands in where a machine has neither AVX2 nor AVX-512 (and is
// what the tests compare with).  Only vector additions, exclusive ors and rotations by constants:
// constant time.  Not an interface for encryption.
#ifndef LORIKEET_COMMON_SECAGG_MASK_KERNELS_H_
#define LORIKEET_COMMON_SECAGG_MASK_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace lorikeet {

inline constexpr size_t kMaskTileBytes = 4096;  // 64 blocks: what one call makes

struct MaskTile {
  const uint32_t* keys = nullptr;  // 8 words each, little-endian, one after the other
  size_t added = 0;                // the first so many keys are added,
  size_t subtracted = 0;           // so many after them are subtracted
  uint32_t first_block = 0;        // of the tile, in every stream; nonce zero
  bool half_words = false;         // elements are 16 bits, not 32
};

// out[0, kMaskTileBytes) = sum of the streams, element by element.  `out` is aligned to 64 bytes.
using SumStreamsFunction = void (*)(const MaskTile& tile, uint8_t* out);
void SumStreamsAvx2(const MaskTile& tile, uint8_t* out);    // REQUIRES: AVX2
void SumStreamsAvx512(const MaskTile& tile, uint8_t* out);  // REQUIRES: AVX-512F and BW

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_MASK_KERNELS_H_
