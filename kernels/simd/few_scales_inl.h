// The packed six-bit scales of the K formats as bytes, and unaligned words.  The formats:
// kernels/quant.h.
#ifndef LORIKEET_KERNELS_SIMD_FEW_SCALES_INL_H_
#define LORIKEET_KERNELS_SIMD_FEW_SCALES_INL_H_

#include <immintrin.h>

#include <cstdint>

namespace lorikeet {
namespace {

inline uint32_t Word32(const uint8_t* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return word;
}
inline uint64_t Word64(const uint8_t* p) {
  uint64_t word;
  __builtin_memcpy(&word, p, sizeof(word));
  return word;
}

// A byte each, group 0 lowest.
struct ScalesMins {
  uint64_t scales, mins;
};

// Of Q4_K and Q5_K: the eight groups' scales and minima in 12 bytes.
inline ScalesMins ScalesMinsOfQ4K(const uint8_t* p) {
  const uint32_t first = Word32(p);
  const uint32_t second = Word32(p + 4);
  const uint32_t third = Word32(p + 8);
  const uint64_t scale_top = (third & 0x0f0f0f0f) | ((first >> 2) & 0x30303030);
  const uint64_t min_top = ((third >> 4) & 0x0f0f0f0f) | ((second >> 2) & 0x30303030);
  return {(first & 0x3f3f3f3f) | scale_top << 32, (second & 0x3f3f3f3f) | min_top << 32};
}

// Of Q3_K: the sixteen groups' scales - 32 in 12 bytes.
inline __m128i ScalesOfQ3K(const uint8_t* p) {
  const uint64_t low = Word64(p);
  const uint64_t top = Word32(p + 8);
  const uint64_t first = (top & 0x03030303) | (top & 0x0c0c0c0c) << 30;
  const uint64_t second = ((top >> 4) & 0x03030303) | (top & 0xc0c0c0c0) << 26;
  const uint64_t s0 = (low & 0x0f0f0f0f0f0f0f0f) | first << 4;
  const uint64_t s1 = ((low >> 4) & 0x0f0f0f0f0f0f0f0f) | second << 4;
  return _mm_sub_epi8(_mm_set_epi64x(static_cast<int64_t>(s1), static_cast<int64_t>(s0)),
                      _mm_set1_epi8(32));
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_FEW_SCALES_INL_H_
