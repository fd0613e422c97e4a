// Products of few rows of floats with weights that are not quantized: they are read once, where
// they lie, and widened in registers.
#ifndef LORIKEET_KERNELS_SIMD_FEW_FLOATS_INL_H_
#define LORIKEET_KERNELS_SIMD_FEW_FLOATS_INL_H_

#include "kernels/simd/unpack_inl.h"
#include "kernels/views.h"

namespace lorikeet {
namespace {

constexpr int64_t kMostFloatRows = 8;

struct F32Weights {
  static constexpr int64_t kBytes = 4;
  static inline Vf At(const uint8_t* p) {
    Vf v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
};

struct F16Weights {
  static constexpr int64_t kBytes = 2;
  static inline Vf At(const uint8_t* p) { return LoadHalves(p); }
};

struct Bf16Weights {
  static constexpr int64_t kBytes = 2;
  static inline Vf At(const uint8_t* p) {
#ifdef LORIKEET_SIMD_512
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
#else
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(LoadBytes(p)), 16));
#endif
  }
};

// The first n < kLanes weights; the others are 0.
template <typename Format>
inline Vf PartOfWeights(const uint8_t* p, int64_t n) {
  uint8_t bytes[kLanes * Format::kBytes] = {};
  __builtin_memcpy(bytes, p, static_cast<size_t>(n * Format::kBytes));
  return Format::At(bytes);
}

// kRows rows of x times kOut rows of w at a time, as many as registers hold.  Every product is
// summed up in the same order however many there are, so that tokens verified together have the
// logits that they have one by one.
template <typename Format, int kRows, int kOut>
void MultiplyFloats(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                    int64_t end, bool accumulate) {
  constexpr int64_t kPrefetch = 4096;  // bytes ahead; behind a row's end, in that kOut rows below
  const float* rows[kRows];
  for (int t = 0; t < kRows; ++t) rows[t] = x.data + Min(t, x.rows - 1) * x.stride;
  for (int64_t o = begin; o < end; o += kOut) {
    const uint8_t* weights[kOut];
    for (int r = 0; r < kOut; ++r) weights[r] = w.data + Min(o + r, end - 1) * w.row_bytes;
    Vf sums[kOut][kRows] = {};
    int64_t i = 0;
    for (; i + kLanes <= w.cols; i += kLanes) {
      Vf w_at[kOut];
      int64_t ahead = i * Format::kBytes + kPrefetch;
      if (kOut > 1 && ahead >= w.row_bytes) ahead += (kOut - 1) * w.row_bytes;
#pragma GCC unroll 4
      for (int r = 0; r < kOut; ++r) {
        _mm_prefetch(weights[r] + ahead, _MM_HINT_T0);
        w_at[r] = Format::At(weights[r] + i * Format::kBytes);
      }
#pragma GCC unroll 8
      for (int t = 0; t < kRows; ++t) {
        const Vf x_at = Load(rows[t] + i);
#pragma GCC unroll 4
        for (int r = 0; r < kOut; ++r) sums[r][t] += w_at[r] * x_at;
      }
    }
    if (const int64_t n = w.cols - i; n > 0) {
#pragma GCC unroll 4
      for (int r = 0; r < kOut; ++r) {
        const Vf w_at = PartOfWeights<Format>(weights[r] + i * Format::kBytes, n);
#pragma GCC unroll 8
        for (int t = 0; t < kRows; ++t) sums[r][t] += w_at * LoadPart(rows[t] + i, n);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kOut; ++r) {
#pragma GCC unroll 8
      for (int t = 0; t < kRows; ++t) {
        if (t >= x.rows || o + r >= end) continue;
        float& out = y.data[t * y.stride + o + r];
        out = (accumulate ? out : 0.0f) + Sum(sums[r][t]);
      }
    }
  }
}

template <typename Format>
void MultiplyFewFloats(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                       int64_t end, bool accumulate) {
  constexpr bool kWide = kLanes == 16;  // twice the registers, too
  if (x.rows == 1) return MultiplyFloats<Format, 1, kWide ? 1 : 2>(x, w, y, begin, end, accumulate);
  if (x.rows == 2) return MultiplyFloats<Format, 2, 2>(x, w, y, begin, end, accumulate);
  if (x.rows <= 4) return MultiplyFloats<Format, 4, 2>(x, w, y, begin, end, accumulate);
  if (x.rows <= 6) return MultiplyFloats<Format, 6, kWide ? 2 : 1>(x, w, y, begin, end, accumulate);
  MultiplyFloats<Format, 8, kWide ? 2 : 1>(x, w, y, begin, end, accumulate);
}

// False: w is quantized or x has more than kMostFloatRows rows; nothing done.
bool MatMulFewFloats(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                     int64_t end, bool accumulate) {
  if (x.rows > kMostFloatRows) return false;
  switch (w.type) {
    case TensorType::kF32:
      return MultiplyFewFloats<F32Weights>(x, w, y, begin, end, accumulate), true;
    case TensorType::kF16:
      return MultiplyFewFloats<F16Weights>(x, w, y, begin, end, accumulate), true;
    case TensorType::kBF16:
      return MultiplyFewFloats<Bf16Weights>(x, w, y, begin, end, accumulate), true;
    default:
      return false;
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_FEW_FLOATS_INL_H_
