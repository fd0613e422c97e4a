// Products with quantized weights: panels for many rows, fused dot products for few, integer
// products for MatMulFast.
#ifndef LORIKEET_KERNELS_SIMD_MATMUL_INL_H_
#define LORIKEET_KERNELS_SIMD_MATMUL_INL_H_

#include "kernels/simd/gemm_inl.h"
#include "kernels/simd/unpack_inl.h"

namespace lorikeet {
namespace {

// Where element `c` (on a block border) of row `r` lies.
inline const uint8_t* At(const WeightView& w, const TensorTypeTraits& traits, int64_t r,
                         int64_t c) {
  return w.data + r * w.row_bytes + c / traits.block_elements * traits.block_bytes;
}

// Up to this many rows of x a dequantized piece of W is multiplied where it lies, without packing a
// panel.
constexpr int64_t kFewRows = 6;

// All kRows rows of x times rows [begin, end) of w, a piece of which is dequantized into the
// first-level cache at a time.
template <int kRows>
void MatMulPieces(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                  int64_t end) {
  alignas(64) float piece[kDepth];
  const TensorTypeTraits& traits = TraitsOf(w.type);
  for (int64_t o = begin; o < end; ++o) {
    Vf sums[kRows][2] = {};
    for (int64_t c = 0; c < w.cols; c += kDepth) {
      const int64_t n = Min(kDepth, w.cols - c);
      DequantizeFast(w.type, At(w, traits, o, c), n, piece);
      int64_t i = 0;
      for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
        const Vf w0 = Load(piece + i);
        const Vf w1 = Load(piece + i + kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < kRows; ++t) {
          const float* x_row = x.data + t * x.stride + c + i;
          sums[t][0] += w0 * Load(x_row);
          sums[t][1] += w1 * Load(x_row + kLanes);
        }
      }
      for (; i < n; i += kLanes) {
        const int64_t count = Min(kLanes, n - i);
        const Vf w0 = LoadPart(piece + i, count);
#pragma GCC unroll 8
        for (int t = 0; t < kRows; ++t) {
          sums[t][0] += w0 * LoadPart(x.data + t * x.stride + c + i, count);
        }
      }
    }
    for (int t = 0; t < kRows; ++t) y.data[t * y.stride + o] = Sum(sums[t][0] + sums[t][1]);
  }
}

void MatMulFewRows(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                   int64_t end) {
  switch (x.rows) {
    case 1:
      for (int64_t o = begin; o < end; ++o) {
        if (!DotFast(w.type, w.data + o * w.row_bytes, x.data, w.cols, y.data + o)) {
          return MatMulPieces<1>(x, w, y, begin, end);
        }
      }
      return;
    case 2:
      return MatMulPieces<2>(x, w, y, begin, end);
    case 3:
      return MatMulPieces<3>(x, w, y, begin, end);
    case 4:
      return MatMulPieces<4>(x, w, y, begin, end);
    case 5:
      return MatMulPieces<5>(x, w, y, begin, end);
    case 6:
      return MatMulPieces<6>(x, w, y, begin, end);
    default:
      return;
  }
}

void MatMulRange(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                 int64_t end) {
  if (x.rows <= kFewRows) return MatMulFewRows(x, w, y, begin, end);
  alignas(64) float rows[kTileCols * kDepth];
  alignas(64) float packed[kDepth * kTileCols];
  const TensorTypeTraits& traits = TraitsOf(w.type);
  for (int64_t o = begin; o < end; o += kTileCols) {
    const int64_t cols = Min(kTileCols, end - o);
    for (int64_t c = 0; c < w.cols; c += kDepth) {
      const int64_t depth = Min(kDepth, w.cols - c);
      for (int64_t j = 0; j < cols; ++j) {
        DequantizeFast(w.type, At(w, traits, o + j, c), depth, rows + j * kDepth);
      }
      PackTransposed(rows, kDepth, cols, depth, packed);
      RunPanel({.a = x.data + c,
                .a_stride = x.stride,
                .b = packed,
                .b_stride = kTileCols,
                .depth = depth,
                .c = y.data + o,
                .c_row = y.stride,
                .alpha = 1.0f,
                .accumulate = c > 0},
               /*unit_k=*/true, x.rows, cols);
    }
  }
}

// d_x[:, begin..end) += d_y W: rows of W are rows of B, so dequantized pieces are panels as they
// are.
void MatMulBackwardInputRange(const ConstMatrix& d_y, const WeightView& w, const Matrix& d_x,
                              int64_t begin, int64_t end) {
  constexpr int64_t kBackwardDepth = 128;
  constexpr int64_t kWidth = 256;
  constexpr int64_t kStride =
      kWidth + 16;  // not a power of two, which would use few sets of the cache
  alignas(64) float piece[kBackwardDepth * kStride];
  const TensorTypeTraits& traits = TraitsOf(w.type);
  for (int64_t c = begin; c < end; c += kWidth) {
    const int64_t width = Min(kWidth, end - c);
    for (int64_t o = 0; o < w.rows; o += kBackwardDepth) {
      const int64_t depth = Min(kBackwardDepth, w.rows - o);
      for (int64_t r = 0; r < depth; ++r) {
        float* row = piece + r * kStride;
        DequantizeFast(w.type, At(w, traits, o + r, c), width, row);
        for (int64_t j = width; j % kTileCols != 0; ++j) row[j] = 0.0f;
      }
      for (int64_t j = 0; j < width; j += kTileCols) {
        RunPanel({.a = d_y.data + o,
                  .a_stride = d_y.stride,
                  .b = piece + j,
                  .b_stride = kStride,
                  .depth = depth,
                  .c = d_x.data + c + j,
                  .c_row = d_x.stride,
                  .alpha = 1.0f,
                  .accumulate = true},
                 /*unit_k=*/true, d_y.rows, Min(kTileCols, width - j));
      }
    }
  }
}

// --- Activations rounded to 8 bit per 32 ---

void RoundActivations(const float* x, int64_t n, const RoundedRow& row) {
  for (int64_t b = 0; b < n / 32; ++b) {
    Vf largest = {};
    for (int j = 0; j < 32; j += kLanes) {
      const Vf v = Load(x + 32 * b + j);
      largest = VecMax(largest, VecMax(v, -v));
    }
    float lanes[kLanes];
    Store(lanes, largest);
    float magnitude = 0;
    for (const float lane : lanes) magnitude = lane > magnitude ? lane : magnitude;
    const float inverse = magnitude > 0 ? 127.0f / magnitude : 0.0f;
    int32_t rounded[32];
    for (int j = 0; j < 32; j += kLanes) {
      const Vi q = ToInt(Load(x + 32 * b + j) * inverse);
      __builtin_memcpy(rounded + j, &q, sizeof(q));
    }
    int32_t sum = 0;
    for (int j = 0; j < 32; ++j) {
      row.q[32 * b + j] = static_cast<int8_t>(rounded[j]);
      sum += rounded[j];
    }
    row.scales[b] = magnitude / 127.0f;
    row.sums[b] = sum;
  }
}

inline __m256i LoadBytes32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// Eight partial sums of signed w times signed x.  w in [-128, 127], x in [-127, 127].
inline __m256i DotSigned(__m256i w, __m256i x) {
#ifdef LORIKEET_SIMD_512
  // The instruction multiplies unsigned by signed: w + 128 is unsigned, and 128 times the sum of x
  // goes off again.
  const __m256i offset = _mm256_set1_epi8(-128);
  const __m256i excess = _mm256_dpbusd_epi32(_mm256_setzero_si256(), offset, x);
  return _mm256_sub_epi32(
      _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_xor_si256(w, offset), x), excess);
#else
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

inline float SumEight(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

template <typename Block>
inline __m256i IntegersOf(const uint8_t* block);
template <>
inline __m256i IntegersOf<BlockQ8_0>(const uint8_t* block) {
  return LoadBytes32(block + 2);
}
template <>
inline __m256i IntegersOf<BlockQ4_0>(const uint8_t* block) {
  const __m128i packed = LoadBytes(block + 2);
  const __m256i both =
      _mm256_inserti128_si256(_mm256_castsi128_si256(packed), _mm_srli_epi16(packed, 4), 1);
  return _mm256_sub_epi8(_mm256_and_si256(both, _mm256_set1_epi8(15)), _mm256_set1_epi8(8));
}

template <typename Block>
inline float DotRounded(const uint8_t* row, const RoundedRow& x, int64_t n) {
  __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  const int64_t blocks = n / 32;
  const auto add = [&](int64_t b, __m256& sum) __attribute__((always_inline)) {
    const uint8_t* block = row + b * static_cast<int64_t>(sizeof(Block));
    uint16_t d;
    __builtin_memcpy(&d, block, sizeof(d));
    const __m256i dots = DotSigned(IntegersOf<Block>(block), LoadBytes32(x.q + 32 * b));
    sum = _mm256_fmadd_ps(_mm256_set1_ps(Half(d) * x.scales[b]), _mm256_cvtepi32_ps(dots), sum);
  };
  int64_t b = 0;
  for (; b + 2 <= blocks; b += 2) {
    add(b, sums[0]);
    add(b + 1, sums[1]);
  }
  if (b < blocks) add(b, sums[0]);
  return SumEight(_mm256_add_ps(sums[0], sums[1]));
}

void MatMulRounded(const RoundedRow* x, int64_t t_count, const WeightView& w, const Matrix& y,
                   int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; ++o) {
    const uint8_t* row = w.data + o * w.row_bytes;
    for (int64_t t = 0; t < t_count; ++t) {
      y.data[t * y.stride + o] = w.type == TensorType::kQ8_0
                                     ? DotRounded<BlockQ8_0>(row, x[t], w.cols)
                                     : DotRounded<BlockQ4_0>(row, x[t], w.cols);
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_MATMUL_INL_H_
