// Products of float activations with weights of any type: panels for many rows, fused dot products
// for few.
#ifndef LORIKEET_KERNELS_SIMD_MATMUL_INL_H_
#define LORIKEET_KERNELS_SIMD_MATMUL_INL_H_

#include "kernels/simd/few_floats_inl.h"
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
// panel.  A row's products do not depend on how many there are, so that tokens verified together
// have the logits that they have one by one.
constexpr int64_t kFewRows = 8;

// All kRows rows of x times rows [begin, end) of quantized w, a piece of which is dequantized into
// the first-level cache at a time.
template <int kRows>
void MatMulPieces(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                  int64_t end, bool accumulate) {
  alignas(64) float piece[kDepth];
  const TensorTypeTraits& traits = TraitsOf(w.type);
  for (int64_t o = begin; o < end; ++o) {
    Vf sums[kRows][2] = {};
    for (int64_t c = 0; c < w.cols; c += kDepth) {
      const int64_t n = Min(kDepth, w.cols - c);
      DequantizeFast(w.type, At(w, traits, o, c), n, piece);
      static_assert(32 % (2 * kLanes) == 0, "blocks are whole steps");
      for (int64_t i = 0; i < n; i += 2 * kLanes) {
        const Vf w0 = Load(piece + i);
        const Vf w1 = Load(piece + i + kLanes);
#pragma GCC unroll 8
        for (int t = 0; t < kRows; ++t) {
          const float* x_row = x.data + t * x.stride + c + i;
          sums[t][0] += w0 * Load(x_row);
          sums[t][1] += w1 * Load(x_row + kLanes);
        }
      }
    }
    for (int t = 0; t < kRows; ++t) {
      float& out = y.data[t * y.stride + o];
      out = (accumulate ? out : 0.0f) + Sum(sums[t][0] + sums[t][1]);
    }
  }
}

void MatMulFewRows(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                   int64_t end, bool accumulate) {
  switch (x.rows) {
    case 1:
      for (int64_t o = begin; o < end; ++o) {
        float product;
        if (!DotFast(w.type, w.data + o * w.row_bytes, x.data, w.cols, &product)) {
          return MatMulPieces<1>(x, w, y, begin, end, accumulate);
        }
        y.data[o] = (accumulate ? y.data[o] : 0.0f) + product;
      }
      return;
    case 2:
      return MatMulPieces<2>(x, w, y, begin, end, accumulate);
    case 3:
      return MatMulPieces<3>(x, w, y, begin, end, accumulate);
    case 4:
      return MatMulPieces<4>(x, w, y, begin, end, accumulate);
    case 5:
      return MatMulPieces<5>(x, w, y, begin, end, accumulate);
    case 6:
      return MatMulPieces<6>(x, w, y, begin, end, accumulate);
    case 7:
      return MatMulPieces<7>(x, w, y, begin, end, accumulate);
    case 8:
      return MatMulPieces<8>(x, w, y, begin, end, accumulate);
    default:
      return;
  }
}

void MatMulRange(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                 int64_t end, bool accumulate) {
  if (MatMulFewFloats(x, w, y, begin, end, accumulate)) return;
  if (x.rows <= kFewRows) return MatMulFewRows(x, w, y, begin, end, accumulate);
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
                .accumulate = accumulate || c > 0},
               /*unit_k=*/true, x.rows, cols);
    }
  }
}

// d_x[:, begin..end) += d_y W: rows of W are rows of B, so dequantized pieces are panels as they
// are.
inline void MatMulBackwardInputRange(const ConstMatrix& d_y, const WeightView& w, const Matrix& d_x,
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

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_MATMUL_INL_H_
