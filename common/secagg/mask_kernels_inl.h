// The body of mask_kernels.h, compiled once for every width of vector registers.
//
// Included by mask_kernels_*.cc only, with LORIKEET_LANES (32-bit lanes of a register) set. Nothing
// here may be shared with code built for older processors: all of it is in an unnamed namespace.
#ifndef LORIKEET_COMMON_SECAGG_MASK_KERNELS_INL_H_
#define LORIKEET_COMMON_SECAGG_MASK_KERNELS_INL_H_

#include "common/secagg/mask_kernels.h"

namespace lorikeet {
namespace {

constexpr int kLanes = LORIKEET_LANES;
constexpr int kBlockWords = 16;
constexpr size_t kGroupBytes = size_t{64} * kLanes;  // one block in every lane
typedef uint32_t Lanes __attribute__((vector_size(4 * kLanes)));
typedef uint16_t HalfLanes __attribute__((vector_size(4 * kLanes)));
typedef uint8_t ByteLanes __attribute__((vector_size(4 * kLanes)));

template <int kBits>
inline __attribute__((always_inline)) void RotateLeft(Lanes& x) {
#if LORIKEET_LANES == 8
  // AVX2 has no rotation; moving whole bytes is one instruction instead of three.
  if constexpr (kBits == 16) {
    const ByteLanes b = (ByteLanes)x;
    x = (Lanes)__builtin_shufflevector(b, b, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
                                       18, 19, 16, 17, 22, 23, 20, 21, 26, 27, 24, 25, 30, 31, 28,
                                       29);
    return;
  }
  if constexpr (kBits == 8) {
    const ByteLanes b = (ByteLanes)x;
    x = (Lanes)__builtin_shufflevector(b, b, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
                                       19, 16, 17, 18, 23, 20, 21, 22, 27, 24, 25, 26, 31, 28, 29,
                                       30);
    return;
  }
#endif
  x = x << kBits | x >> (32 - kBits);
}

inline __attribute__((always_inline)) void QuarterRound(Lanes& a, Lanes& b, Lanes& c, Lanes& d) {
  a += b;
  d ^= a;
  RotateLeft<16>(d);
  c += d;
  b ^= c;
  RotateLeft<12>(b);
  a += b;
  d ^= a;
  RotateLeft<8>(d);
  c += d;
  b ^= c;
  RotateLeft<7>(b);
}

inline __attribute__((always_inline)) void DoubleRound(Lanes* x) {
  QuarterRound(x[0], x[4], x[8], x[12]);
  QuarterRound(x[1], x[5], x[9], x[13]);
  QuarterRound(x[2], x[6], x[10], x[14]);
  QuarterRound(x[3], x[7], x[11], x[15]);
  QuarterRound(x[0], x[5], x[10], x[15]);
  QuarterRound(x[1], x[6], x[11], x[12]);
  QuarterRound(x[2], x[7], x[8], x[13]);
  QuarterRound(x[3], x[4], x[9], x[14]);
}

template <typename Element, bool kSubtract>
inline __attribute__((always_inline)) void Accumulate(Lanes* sum, const Lanes* x) {
  for (int w = 0; w < kBlockWords; ++w) {
    if constexpr (kSubtract) {
      sum[w] = (Lanes)((Element)sum[w] - (Element)x[w]);
    } else {
      sum[w] = (Lanes)((Element)sum[w] + (Element)x[w]);
    }
  }
}

// sum +-= the blocks `counter` of one key's stream, a block in each lane.
template <typename Element, bool kSubtract>
inline __attribute__((always_inline)) void AddBlocks(const uint32_t* key, Lanes counter,
                                                     Lanes* sum) {
  constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  Lanes x[kBlockWords];
  for (int w = 0; w < 4; ++w) x[w] = Lanes{} + kConstants[w];
  for (int w = 0; w < 8; ++w) x[4 + w] = Lanes{} + key[w];
  x[12] = counter;
  for (int w = 13; w < kBlockWords; ++w) x[w] = Lanes{};
  for (int round = 0; round < 20; round += 2) DoubleRound(x);
  for (int w = 0; w < 4; ++w) x[w] += kConstants[w];
  for (int w = 0; w < 8; ++w) x[4 + w] += key[w];
  x[12] += counter;
  Accumulate<Element, kSubtract>(sum, x);
}

template <typename Element>
void SumStreams(const MaskTile& tile, uint8_t* out) {
  Lanes lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = static_cast<uint32_t>(i);
  uint32_t* words = reinterpret_cast<uint32_t*>(out);
  for (size_t group = 0; group < kMaskTileBytes / kGroupBytes; ++group) {
    const Lanes counter = lane + (tile.first_block + static_cast<uint32_t>(group) * kLanes);
    Lanes sum[kBlockWords] = {};
    const uint32_t* key = tile.keys;
    for (size_t i = 0; i < tile.added; ++i, key += 8) AddBlocks<Element, false>(key, counter, sum);
    for (size_t i = 0; i < tile.subtracted; ++i, key += 8) {
      AddBlocks<Element, true>(key, counter, sum);
    }
    for (int block = 0; block < kLanes; ++block) {  // into stream order
      for (int w = 0; w < kBlockWords; ++w) *words++ = sum[w][block];
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_MASK_KERNELS_INL_H_
