// Products of many rows of rounded activations: a panel of weights is unpacked once and used for
// all rows.
#ifndef LORIKEET_KERNELS_SIMD_BATCH_INL_H_
#define LORIKEET_KERNELS_SIMD_BATCH_INL_H_

#include "kernels/fast_matmul.h"
#include "kernels/simd/tile_inl.h"
#include "kernels/simd/unpack_panel_inl.h"

namespace lorikeet {
namespace {

// n bytes, a multiple of 32, plus 128 with `shift`.
template <bool kShift>
inline void CopyBytes(const int8_t* from, int64_t n, uint8_t* to) {
  const Vb flip = Vb{} + static_cast<int8_t>(kShift ? -128 : 0);
  int64_t k = 0;
  for (; k + kVecBytes <= n; k += kVecBytes) {
    const auto v = reinterpret_cast<Vb>(*reinterpret_cast<const VuAnywhere*>(from + k));
    *reinterpret_cast<VuAnywhere*>(to + k) = reinterpret_cast<Vu>(v ^ flip);
  }
  if (k < n) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + k));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k),
                        _mm256_xor_si256(v, _mm256_set1_epi8(kShift ? -128 : 0)));
  }
}

// Rows [t, t + tokens) and columns [begin, begin + n) of x, as kernels for Block want them.
template <typename Block>
void FillTokens(const RoundedActivations& x, int64_t t, int tokens, int64_t begin, int64_t n,
                TokenTile* tile) {
  using F = FormOf<Block>;
  for (int i = 0; i < tokens; ++i) {
    const int8_t* q = x.q + (t + i) * x.q_stride + begin;
    const float* scales = x.scales + (t + i) * x.scale_stride + begin / 32;
    const float* sums = x.sums + (t + i) * x.sum_stride + begin / 16;
    CopyBytes<F::kUnsignedTokens>(q, n, tile->q[i]);
    for (int64_t g = 0; g < n / 32; ++g) tile->scales[i][g] = scales[g];
    if constexpr (F::kMin && F::kGroup == 32) {
      for (int64_t g = 0; g < n / 32; ++g) tile->sums[i][g] = sums[2 * g] + sums[2 * g + 1];
    } else if constexpr (F::kMin) {
      for (int64_t g = 0; g < n / 16; ++g) tile->sums[i][g] = sums[g];
    }
  }
}

// Panels at a time, so that rounded rows are fetched, and rows of y touched, less often.
constexpr int kPanels = 4;

// Rows [t, t + tokens), columns [begin, begin + n) of y, which are written after the product.
inline void PrefetchOutput(const Matrix& y, int64_t t, int tokens, int64_t begin, int64_t n) {
  for (int i = 0; i < tokens; ++i) {
    const float* row = y.data + (t + i) * y.stride + begin;
    for (int64_t c = 0; c < n; c += 16) __builtin_prefetch(row + c, 1);
  }
}

// The weights that are unpacked after those at hand, in this call or the next.
struct NextWeights {
  const uint8_t* data;
  int64_t row_bytes;
  int64_t rows;
  int64_t bytes;  // of each

  template <typename Block>
  static NextWeights Of(const WeightView& w, int64_t row, int64_t column) {
    const auto bytes = static_cast<int64_t>(sizeof(Block));
    return {.data = w.data + row * w.row_bytes + column / FormOf<Block>::kColumns * bytes,
            .row_bytes = w.row_bytes,
            .rows = Max(0, Min(kPanels * kPanelRows, w.rows - row)),
            .bytes = Min(kSlice, w.cols - column) / FormOf<Block>::kColumns * bytes};
  }
  // As much of them as parts [part, part + parts) are of the `total` products at hand.
  void Prefetch(int64_t part, int64_t parts, int64_t total) const {
    for (int64_t r = rows * part / total; r < rows * (part + parts) / total; ++r) {
      const uint8_t* row = data + r * row_bytes;
      const auto before = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) % 64);
      for (int64_t b = -before; b < bytes; b += 64) __builtin_prefetch(row + b, 0, 2);
    }
  }
};

template <typename Block>
void MatMulBlocks(const RoundedActivations& x, const WeightView& w, const Matrix& y, int64_t begin,
                  int64_t end, bool accumulate) {
  Panel panels[kPanels];
  TokenTile tile;
  for (int64_t o = begin; o < end; o += kPanels * kPanelRows) {
    const int64_t rows = Min(kPanels * kPanelRows, end - o);
    for (int64_t k = 0; k < w.cols; k += kSlice) {
      const int64_t n = Min(kSlice, w.cols - k);
      for (int64_t r = 0; r < rows; r += kPanelRows) {
        UnpackPanel<Block>(w, o + r, Min(kPanelRows, rows - r), k, n, &panels[r / kPanelRows]);
      }
      const NextWeights next = k + n < w.cols ? NextWeights::Of<Block>(w, o, k + n)
                                              : NextWeights::Of<Block>(w, o + rows, 0);
      ForTiles(y.rows, [&](auto tokens, int64_t t) {
        constexpr int kTokens = decltype(tokens)::kValue;
        PrefetchOutput(y, t, kTokens, o, rows);
        FillTokens<Block>(x, t, kTokens, k, n, &tile);
        for (int64_t r = 0; r < rows; r += kPanelRows) {
          next.Prefetch(t * rows + kTokens * r, kTokens * Min(kPanelRows, rows - r), y.rows * rows);
          MultiplyTile<Block, kTokens>(panels[r / kPanelRows], tile,
                                       static_cast<int>(n / FormOf<Block>::kGroup),
                                       {.y = y.data + t * y.stride + o + r,
                                        .stride = y.stride,
                                        .rows = Min(kPanelRows, rows - r),
                                        .add = accumulate || k > 0});
        }
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
