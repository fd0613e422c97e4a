// Products of many rows of rounded activations: a panel of weights is unpacked once and used for
// all rows.
#ifndef LORIKEET_KERNELS_SIMD_BATCH_INL_H_
#define LORIKEET_KERNELS_SIMD_BATCH_INL_H_

#include "kernels/fast_matmul.h"
#include "kernels/simd/tile_inl.h"
#include "kernels/simd/unpack_panel_inl.h"

namespace lorikeet {
namespace {

// Rows [t, t + tokens) and columns [begin, begin + n) of x, as kernels for Block want them.
template <typename Block>
void FillTokens(const RoundedActivations& x, int64_t t, int tokens, int64_t begin, int64_t n,
                TokenTile* tile) {
  using F = FormOf<Block>;
  const __m256i flip = _mm256_set1_epi8(F::kUnsignedTokens ? -128 : 0);
  for (int i = 0; i < tokens; ++i) {
    const int8_t* q = x.q + (t + i) * x.q_stride + begin;
    const float* scales = x.scales + (t + i) * x.scale_stride + begin / 32;
    const float* sums = x.sums + (t + i) * x.sum_stride + begin / 16;
    for (int64_t k = 0; k < n; k += 32) {
      const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + k));
      _mm256_store_si256(reinterpret_cast<__m256i*>(tile->q[i] + k), _mm256_xor_si256(bytes, flip));
    }
    for (int64_t g = 0; g < n / 32; ++g) tile->scales[i][g] = scales[g];
    if constexpr (F::kMin && F::kGroup == 32) {
      for (int64_t g = 0; g < n / 32; ++g) tile->sums[i][g] = sums[2 * g] + sums[2 * g + 1];
    } else if constexpr (F::kMin) {
      for (int64_t g = 0; g < n / 16; ++g) tile->sums[i][g] = sums[g];
    }
  }
}

template <typename Block>
void MatMulBlocks(const RoundedActivations& x, const WeightView& w, const Matrix& y, int64_t begin,
                  int64_t end, bool accumulate) {
  Panel panel;
  TokenTile tile;
  for (int64_t o = begin; o < end; o += kPanelRows) {
    const int64_t count = Min(kPanelRows, end - o);
    const uint8_t* rows[kPanelRows];
    // Past the end the last row again, which is not written.
    for (int r = 0; r < kPanelRows; ++r) rows[r] = w.data + (o + Min(r, count - 1)) * w.row_bytes;
    for (int64_t k = 0; k < w.cols; k += kSlice) {
      const int64_t n = Min(kSlice, w.cols - k);
      UnpackPanel<Block>(rows, k, n, &panel);
      ForTiles(y.rows, [&](auto tokens, int64_t t) {
        constexpr int kTokens = decltype(tokens)::kValue;
        FillTokens<Block>(x, t, kTokens, k, n, &tile);
        MultiplyTile<Block, kTokens>(panel, tile, static_cast<int>(n / FormOf<Block>::kGroup),
                                     {.y = y.data + t * y.stride + o,
                                      .stride = y.stride,
                                      .rows = count,
                                      .add = accumulate || k > 0});
      });
    }
  }
}

void MatMulBatchRange(const RoundedActivations& x, const WeightView& w, const Matrix& y,
                      int64_t begin, int64_t end, bool accumulate) {
  switch (w.type) {
    case TensorType::kQ8_0:
      return MatMulBlocks<BlockQ8_0>(x, w, y, begin, end, accumulate);
    case TensorType::kQ4_0:
      return MatMulBlocks<BlockQ4_0>(x, w, y, begin, end, accumulate);
    case TensorType::kQ4_1:
      return MatMulBlocks<BlockQ4_1>(x, w, y, begin, end, accumulate);
    case TensorType::kQ5_0:
      return MatMulBlocks<BlockQ5_0>(x, w, y, begin, end, accumulate);
    case TensorType::kQ5_1:
      return MatMulBlocks<BlockQ5_1>(x, w, y, begin, end, accumulate);
    case TensorType::kIQ4_NL:
      return MatMulBlocks<BlockIq4Nl>(x, w, y, begin, end, accumulate);
    case TensorType::kQ2_K:
      return MatMulBlocks<BlockQ2_K>(x, w, y, begin, end, accumulate);
    case TensorType::kQ3_K:
      return MatMulBlocks<BlockQ3_K>(x, w, y, begin, end, accumulate);
    case TensorType::kQ4_K:
      return MatMulBlocks<BlockQ4_K>(x, w, y, begin, end, accumulate);
    case TensorType::kQ5_K:
      return MatMulBlocks<BlockQ5_K>(x, w, y, begin, end, accumulate);
    case TensorType::kQ6_K:
      return MatMulBlocks<BlockQ6_K>(x, w, y, begin, end, accumulate);
    case TensorType::kF32:
    case TensorType::kF16:
    case TensorType::kBF16:
    case TensorType::kI32:
      break;
  }
  __builtin_trap();  // REQUIRES of KernelTable::mat_mul_batch
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_BATCH_INL_H_
