// Dequantization of rows, the one source for all instruction sets: written so that a compiler
// vectorizes it.
//
// Included only by the kernels' own .cc files, each of which defines, in its unnamed namespace
// before this, `float Half(uint16_t)`.  d * scale fits a float exactly in every format, so fused
// multiply-add gives the same bits.
#ifndef LORIKEET_KERNELS_SIMD_DEQUANTIZE_INL_H_
#define LORIKEET_KERNELS_SIMD_DEQUANTIZE_INL_H_

#include <cstdint>

#include "kernels/quant.h"

namespace lorikeet {
namespace {

inline float BitsToFloat(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

inline void DequantizeBlock(const BlockQ8_0& b, float* y) {
  const float d = Half(b.d);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(b.q[j]);
}

inline void DequantizeBlock(const BlockQ4_0& b, float* y) {
  const float d = Half(b.d);
  for (int j = 0; j < 16; ++j) y[j] = d * static_cast<float>((b.q[j] & 15) - 8);
  for (int j = 0; j < 16; ++j) y[j + 16] = d * static_cast<float>((b.q[j] >> 4) - 8);
}

inline void DequantizeBlock(const BlockQ4_1& b, float* y) {
  const float d = Half(b.d);
  const float m = Half(b.m);
  for (int j = 0; j < 16; ++j) y[j] = d * static_cast<float>(b.q[j] & 15) + m;
  for (int j = 0; j < 16; ++j) y[j + 16] = d * static_cast<float>(b.q[j] >> 4) + m;
}

inline uint32_t HighBits(const uint8_t (&high)[4]) {
  uint32_t bits;
  __builtin_memcpy(&bits, high, sizeof(bits));
  return bits;
}

inline void DequantizeBlock(const BlockQ5_0& b, float* y) {
  const float d = Half(b.d);
  const uint32_t high = HighBits(b.high);
  for (int j = 0; j < 32; ++j) {
    const int low = j < 16 ? b.q[j & 15] & 15 : b.q[j & 15] >> 4;
    y[j] = d * static_cast<float>((low | static_cast<int>((high >> j) & 1) << 4) - 16);
  }
}

inline void DequantizeBlock(const BlockQ5_1& b, float* y) {
  const float d = Half(b.d);
  const float m = Half(b.m);
  const uint32_t high = HighBits(b.high);
  for (int j = 0; j < 32; ++j) {
    const int low = j < 16 ? b.q[j & 15] & 15 : b.q[j & 15] >> 4;
    y[j] = d * static_cast<float>(low | static_cast<int>((high >> j) & 1) << 4) + m;
  }
}

inline void DequantizeBlock(const BlockIq4Nl& b, float* y) {
  const float d = Half(b.d);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(kIq4NlValues[b.q[j] & 15]);
    y[j + 16] = d * static_cast<float>(kIq4NlValues[b.q[j] >> 4]);
  }
}

// Two bits a value: value 128 n + 32 s + l is bits 2s, 2s + 1 of q[32 n + l].
inline void DequantizeBlock(const BlockQ2_K& b, float* y) {
  const float d = Half(b.d);
  const float dmin = Half(b.dmin);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(b.scales[g] & 15);
    const float min = dmin * static_cast<float>(b.scales[g] >> 4);
    const uint8_t* q = b.q + 32 * (g / 8) + 16 * (g % 2);
    const int shift = 2 * (g % 8 / 2);
    for (int l = 0; l < 16; ++l)
      y[16 * g + l] = scale * static_cast<float>((q[l] >> shift) & 3) - min;
  }
}

// Six-bit scales in 12 bytes: low halves of 0..15 in bytes 0..7, two high bits in bytes 8..11.
inline int ScaleQ3K(const uint8_t* s, int g) {
  const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
  return (low | ((s[8 + g % 4] >> (2 * (g / 4))) & 3) << 4) - 32;
}

inline void DequantizeBlock(const BlockQ3_K& b, float* y) {
  const float d = Half(b.d);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(ScaleQ3K(b.scales, g));
    const uint8_t* q = b.q + 32 * (g / 8) + 16 * (g % 2);
    const uint8_t* high = b.high + 16 * (g % 2);
    const int shift = 2 * (g % 8 / 2);
    const int bit = g / 2;
    for (int l = 0; l < 16; ++l) {
      const int value = ((q[l] >> shift) & 3) + (((high[l] >> bit) & 1) << 2) - 4;
      y[16 * g + l] = scale * static_cast<float>(value);
    }
  }
}

// Eight six-bit scales and minima in 12 bytes.
inline void ScaleMinQ4K(const uint8_t* s, int g, int* scale, int* min) {
  if (g < 4) {
    *scale = s[g] & 63;
    *min = s[g + 4] & 63;
  } else {
    *scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
    *min = (s[g + 4] >> 4) | (s[g] >> 6) << 4;
  }
}

inline void DequantizeBlock(const BlockQ4_K& b, float* y) {
  const float d = Half(b.d);
  const float dmin = Half(b.dmin);
  for (int pair = 0; pair < 4; ++pair) {
    int scale[2];
    int min[2];
    ScaleMinQ4K(b.scales, 2 * pair, &scale[0], &min[0]);
    ScaleMinQ4K(b.scales, 2 * pair + 1, &scale[1], &min[1]);
    const float d0 = d * static_cast<float>(scale[0]);
    const float d1 = d * static_cast<float>(scale[1]);
    const float m0 = dmin * static_cast<float>(min[0]);
    const float m1 = dmin * static_cast<float>(min[1]);
    const uint8_t* q = b.q + 32 * pair;
    float* out = y + 64 * pair;
    for (int l = 0; l < 32; ++l) out[l] = d0 * static_cast<float>(q[l] & 15) - m0;
    for (int l = 0; l < 32; ++l) out[l + 32] = d1 * static_cast<float>(q[l] >> 4) - m1;
  }
}

inline void DequantizeBlock(const BlockQ5_K& b, float* y) {
  const float d = Half(b.d);
  const float dmin = Half(b.dmin);
  for (int g = 0; g < 8; ++g) {
    int scale;
    int min;
    ScaleMinQ4K(b.scales, g, &scale, &min);
    const float ds = d * static_cast<float>(scale);
    const float m = dmin * static_cast<float>(min);
    const uint8_t* q = b.q + 32 * (g / 2);
    const int shift = 4 * (g % 2);
    for (int l = 0; l < 32; ++l) {
      const int value = ((q[l] >> shift) & 15) + (((b.high[l] >> g) & 1) << 4);
      y[32 * g + l] = ds * static_cast<float>(value) - m;
    }
  }
}

inline void DequantizeBlock(const BlockQ6_K& b, float* y) {
  const float d = Half(b.d);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = b.low + 64 * half;
    const uint8_t* high = b.high + 32 * half;
    for (int g = 0; g < 8; ++g) {
      const float scale = d * static_cast<float>(b.scales[8 * half + g]);
      const uint8_t* l4 = low + 32 * (g / 2 % 2) + 16 * (g % 2);
      const uint8_t* h2 = high + 16 * (g % 2);
      const int low_shift = g < 4 ? 0 : 4;
      const int high_shift = 2 * (g / 2);
      float* out = y + 128 * half + 16 * g;
      for (int l = 0; l < 16; ++l) {
        const int value = ((l4[l] >> low_shift) & 15) + (((h2[l] >> high_shift) & 3) << 4) - 32;
        out[l] = scale * static_cast<float>(value);
      }
    }
  }
}

template <typename Block, int kElements>
inline void DequantizeBlocks(const uint8_t* src, int64_t n, float* dst) {
  for (int64_t i = 0; i < n / kElements; ++i) {
    Block block;  // a copy, since rows in files need not be aligned
    __builtin_memcpy(&block, src + i * static_cast<int64_t>(sizeof(Block)), sizeof(Block));
    DequantizeBlock(block, dst + i * kElements);
  }
}

inline void DequantizeHalves(const uint8_t* src, int64_t n, float* dst);

inline void DequantizeBf16(const uint8_t* src, int64_t n, float* dst) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits;
    __builtin_memcpy(&bits, src + 2 * i, sizeof(bits));
    dst[i] = BitsToFloat(static_cast<uint32_t>(bits) << 16);
  }
}

void DequantizeRowHere(TensorType type, const uint8_t* src, int64_t n, float* dst) {
  switch (type) {
    case TensorType::kF32:
      __builtin_memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
      return;
    case TensorType::kF16:
      return DequantizeHalves(src, n, dst);
    case TensorType::kBF16:
      return DequantizeBf16(src, n, dst);
    case TensorType::kQ8_0:
      return DequantizeBlocks<BlockQ8_0, 32>(src, n, dst);
    case TensorType::kQ4_0:
      return DequantizeBlocks<BlockQ4_0, 32>(src, n, dst);
    case TensorType::kQ4_1:
      return DequantizeBlocks<BlockQ4_1, 32>(src, n, dst);
    case TensorType::kQ5_0:
      return DequantizeBlocks<BlockQ5_0, 32>(src, n, dst);
    case TensorType::kQ5_1:
      return DequantizeBlocks<BlockQ5_1, 32>(src, n, dst);
    case TensorType::kIQ4_NL:
      return DequantizeBlocks<BlockIq4Nl, 32>(src, n, dst);
    case TensorType::kQ2_K:
      return DequantizeBlocks<BlockQ2_K, 256>(src, n, dst);
    case TensorType::kQ3_K:
      return DequantizeBlocks<BlockQ3_K, 256>(src, n, dst);
    case TensorType::kQ4_K:
      return DequantizeBlocks<BlockQ4_K, 256>(src, n, dst);
    case TensorType::kQ5_K:
      return DequantizeBlocks<BlockQ5_K, 256>(src, n, dst);
    case TensorType::kQ6_K:
      return DequantizeBlocks<BlockQ6_K, 256>(src, n, dst);
    case TensorType::kI32:
      break;
  }
  __builtin_trap();  // REQUIRES of DequantizeRow
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_DEQUANTIZE_INL_H_
