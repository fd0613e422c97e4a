// Rows of the common formats as vectors of floats, handed one at a time to a sink: one that stores
// them dequantizes, one that multiplies them makes a dot product without the numbers ever leaving
// registers.
//
// A sink is called as sink(i, k, v): v holds values i, i + 1, ... of the row; k, known when
// compiled, counts calls within a block.  The other formats use dequantize_inl.h.
#ifndef LORIKEET_KERNELS_SIMD_UNPACK_INL_H_
#define LORIKEET_KERNELS_SIMD_UNPACK_INL_H_

#include "kernels/simd/vec_inl.h"
// After Half.
#include "kernels/simd/dequantize_inl.h"

namespace lorikeet {
namespace {

constexpr int kVecsOf16 = 16 / kLanes;

inline float HalfAt(const uint8_t* p) {
  uint16_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return Half(bits);
}

template <typename Sink>
__attribute__((always_inline)) inline void UnpackQ8_0(const uint8_t* row, int64_t n, Sink& sink) {
  for (int64_t i = 0; i < n; i += 32, row += sizeof(BlockQ8_0)) {
    const Vf d = Splat(HalfAt(row));
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const Sixteen q = FloatsOf(LoadBytes(row + 2 + 16 * h));
#pragma GCC unroll 2
      for (int v = 0; v < kVecsOf16; ++v)
        sink(i + 16 * h + v * kLanes, h * kVecsOf16 + v, d * q.v[v]);
    }
  }
}

// Formats with 32 values in a block, four bits of them in the halves of 16 bytes: half h as bytes.
inline __m128i NibblesOf(const uint8_t* q, int h) {
  const __m128i packed = LoadBytes(q);
  return _mm_and_si128(h == 0 ? packed : _mm_srli_epi16(packed, 4), _mm_set1_epi8(15));
}
// The same with bit 16 h + j of `high` as the fifth bit of byte j.
inline __m128i FiveBitsOf(const uint8_t* high, const uint8_t* q, int h) {
  int16_t bits;
  __builtin_memcpy(&bits, high + 2 * h, sizeof(bits));
  const __m128i spread = _mm_shuffle_epi8(
      _mm_set1_epi16(bits), _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const __m128i own = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m128i set = _mm_cmpeq_epi8(_mm_and_si128(spread, own), own);
  return _mm_or_si128(NibblesOf(q, h), _mm_and_si128(set, _mm_set1_epi8(16)));
}

struct HalvesOfQ4_0 {
  typedef BlockQ4_0 Block;
  static constexpr bool kMin = false;
  static __m128i Bytes(const uint8_t* block, int h) {
    return _mm_sub_epi8(NibblesOf(block + 2, h), _mm_set1_epi8(8));
  }
};
struct HalvesOfQ4_1 {
  typedef BlockQ4_1 Block;
  static constexpr bool kMin = true;
  static __m128i Bytes(const uint8_t* block, int h) { return NibblesOf(block + 4, h); }
};
struct HalvesOfQ5_0 {
  typedef BlockQ5_0 Block;
  static constexpr bool kMin = false;
  static __m128i Bytes(const uint8_t* block, int h) {
    return _mm_sub_epi8(FiveBitsOf(block + 2, block + 6, h), _mm_set1_epi8(16));
  }
};
struct HalvesOfQ5_1 {
  typedef BlockQ5_1 Block;
  static constexpr bool kMin = true;
  static __m128i Bytes(const uint8_t* block, int h) { return FiveBitsOf(block + 4, block + 8, h); }
};
struct HalvesOfIq4Nl {
  typedef BlockIq4Nl Block;
  static constexpr bool kMin = false;
  static __m128i Bytes(const uint8_t* block, int h) {
    return _mm_shuffle_epi8(LoadBytes(kIq4NlValues), NibblesOf(block + 2, h));
  }
};

template <typename Halves, typename Sink>
__attribute__((always_inline)) inline void UnpackHalves(const uint8_t* row, int64_t n, Sink& sink) {
  for (int64_t i = 0; i < n; i += 32, row += sizeof(typename Halves::Block)) {
    const Vf d = Splat(HalfAt(row));
    const Vf m = Halves::kMin ? Splat(HalfAt(row + 2)) : Vf{};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const Sixteen q = FloatsOf(Halves::Bytes(row, h));
#pragma GCC unroll 2
      for (int v = 0; v < kVecsOf16; ++v) {
        sink(i + 16 * h + v * kLanes, h * kVecsOf16 + v,
             Halves::kMin ? d * q.v[v] + m : d * q.v[v]);
      }
    }
  }
}

template <typename Sink>
__attribute__((always_inline)) inline void UnpackQ4_K(const uint8_t* row, int64_t n, Sink& sink) {
  const __m128i mask = _mm_set1_epi8(15);
  for (int64_t i = 0; i < n; i += 256, row += sizeof(BlockQ4_K)) {
    const float d = HalfAt(row);
    const float dmin = HalfAt(row + 2);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
      int scale;
      int min;
      ScaleMinQ4K(row + 4, g, &scale, &min);
      const Vf ds = Splat(d * static_cast<float>(scale));
      const Vf m = Splat(dmin * static_cast<float>(min));
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m128i packed = LoadBytes(row + 16 + 32 * (g / 2) + 16 * h);
        const Sixteen q =
            FloatsOf(_mm_and_si128(g % 2 == 0 ? packed : _mm_srli_epi16(packed, 4), mask));
#pragma GCC unroll 2
        for (int v = 0; v < kVecsOf16; ++v) {
          sink(i + 32 * g + 16 * h + v * kLanes, h * kVecsOf16 + v, ds * q.v[v] - m);
        }
      }
    }
  }
}

template <typename Sink>
__attribute__((always_inline)) inline void UnpackQ6_K(const uint8_t* row, int64_t n, Sink& sink) {
  const __m128i low_mask = _mm_set1_epi8(15);
  const __m128i high_mask = _mm_set1_epi8(0x30);
  const __m128i middle = _mm_set1_epi8(32);
  for (int64_t i = 0; i < n; i += 256, row += sizeof(BlockQ6_K)) {
    const float d = HalfAt(row + 208);
#pragma GCC unroll 16
    for (int g = 0; g < 16; ++g) {
      const int half = g / 8;
      const int quarter = g % 8 / 2;  // which two bits of `high`
      __m128i low = LoadBytes(row + 64 * half + 32 * (quarter % 2) + 16 * (g % 2));
      if (quarter >= 2) low = _mm_srli_epi16(low, 4);
      __m128i high = LoadBytes(row + 128 + 32 * half + 16 * (g % 2));
      if (quarter == 0) high = _mm_slli_epi16(high, 4);
      if (quarter == 1) high = _mm_slli_epi16(high, 2);
      if (quarter == 3) high = _mm_srli_epi16(high, 2);
      const __m128i both =
          _mm_or_si128(_mm_and_si128(low, low_mask), _mm_and_si128(high, high_mask));
      const Sixteen q = FloatsOf(_mm_sub_epi8(both, middle));
      const Vf ds = Splat(d * static_cast<float>(static_cast<int8_t>(row[192 + g])));
#pragma GCC unroll 2
      for (int v = 0; v < kVecsOf16; ++v) {
        sink(i + 16 * g + v * kLanes, g % 2 * kVecsOf16 + v, ds * q.v[v]);
      }
    }
  }
}

// The last n % kLanes values are the caller's.
template <typename Sink>
__attribute__((always_inline)) inline void UnpackF16(const uint8_t* row, int64_t n, Sink& sink) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sink(i + v * kLanes, v, LoadHalves(row + 2 * (i + v * kLanes)));
  }
  for (; i + kLanes <= n; i += kLanes) {
    sink(i, static_cast<int>(i / kLanes % 2), LoadHalves(row + 2 * i));
  }
}

// False: not one of the formats above, nothing done.
template <typename Sink>
__attribute__((always_inline)) inline bool Unpack(TensorType type, const uint8_t* row, int64_t n,
                                                  Sink& sink) {
  switch (type) {
    case TensorType::kQ8_0:
      return UnpackQ8_0(row, n, sink), true;
    case TensorType::kQ4_0:
      return UnpackHalves<HalvesOfQ4_0>(row, n, sink), true;
    case TensorType::kQ4_1:
      return UnpackHalves<HalvesOfQ4_1>(row, n, sink), true;
    case TensorType::kQ5_0:
      return UnpackHalves<HalvesOfQ5_0>(row, n, sink), true;
    case TensorType::kQ5_1:
      return UnpackHalves<HalvesOfQ5_1>(row, n, sink), true;
    case TensorType::kIQ4_NL:
      return UnpackHalves<HalvesOfIq4Nl>(row, n, sink), true;
    case TensorType::kQ4_K:
      return UnpackQ4_K(row, n, sink), true;
    case TensorType::kQ6_K:
      return UnpackQ6_K(row, n, sink), true;
    case TensorType::kF16:
      return UnpackF16(row, n, sink), true;
    default:
      return false;
  }
}

struct StoreSink {
  float* dst;
  __attribute__((always_inline)) void operator()(int64_t i, int, Vf v) const { Store(dst + i, v); }
};

// Adds in the order of MatMulPieces: a row's product is the same to the bit alone and among others.
struct DotSink {
  const float* x;
  Vf sums[2] = {};
  __attribute__((always_inline)) void operator()(int64_t i, int k, Vf v) {
    sums[k % 2] += v * Load(x + i);
  }
  float Total() const { return Sum(sums[0] + sums[1]); }
};

inline void DequantizeHalves(const uint8_t* src, int64_t n, float* dst) {
  for (int64_t i = 0; i < n; ++i) dst[i] = HalfAt(src + 2 * i);
}

void DequantizeFast(TensorType type, const uint8_t* src, int64_t n, float* dst) {
  StoreSink sink{dst};
  if (!Unpack(type, src, n, sink)) return DequantizeRowHere(type, src, n, dst);
  const int64_t rest = type == TensorType::kF16 ? n % kLanes : 0;
  DequantizeHalves(src + 2 * (n - rest), rest, dst + n - rest);
}

// Of quantized rows; false as Unpack.
inline bool DotFast(TensorType type, const uint8_t* row, const float* x, int64_t n, float* dot) {
  DotSink sink{x};
  if (!Unpack(type, row, n, sink)) return false;
  *dot = sink.Total();
  return true;
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_UNPACK_INL_H_
