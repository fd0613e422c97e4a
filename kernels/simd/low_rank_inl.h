// The second half of low-rank updates: y += h b^T, with few columns of h and many of y.
#ifndef LORIKEET_KERNELS_SIMD_LOW_RANK_INL_H_
#define LORIKEET_KERNELS_SIMD_LOW_RANK_INL_H_

#include "kernels/simd/tile_inl.h"

namespace lorikeet {
namespace {

constexpr int kRanks = 64;  // columns of h at a time
constexpr int kHalvesOfColumns = 8;

// columns[r][i] = b[begin + i][rank + r]; rows past `count` repeat the last, ranks past `ranks` are
// undefined or 0.
void TransposeHalves(const MatrixView<const uint16_t>& b, int64_t begin, int64_t count,
                     int64_t rank, int64_t ranks, float (&columns)[kRanks][kPanelRows]) {
  alignas(16) uint16_t ends[kPanelRows][kHalvesOfColumns] = {};
  for (int64_t r = 0; r < ranks; r += kHalvesOfColumns) {
    const bool whole = ranks - r >= kHalvesOfColumns;  // otherwise a load would pass the end of b
    const uint8_t* rows[kPanelRows];
    for (int64_t i = 0; i < kPanelRows; ++i) {
      const uint16_t* row = b.data + (begin + Min(i, count - 1)) * b.stride + rank + r;
      for (int64_t j = 0; j < ranks - r && !whole; ++j) ends[i][j] = row[j];
      rows[i] = reinterpret_cast<const uint8_t*>(whole ? row : ends[i]);
    }
    for (int i = 0; i < kPanelRows; i += kLanes) {
      const Columns pairs = LoadColumns({rows + i, 0}, 0);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        Store(columns[r + 2 * j] + i, LowHalves(pairs.dwords[j]));
        Store(columns[r + 2 * j + 1] + i, HighHalves(pairs.dwords[j]));
      }
    }
  }
}

template <int kTokens>
void AddLowRankTile(const float (&columns)[kRanks][kPanelRows], int64_t ranks, const float* h,
                    int64_t h_stride, const TileOutput& out) {
  for (int64_t row = 0; row < out.rows; row += 2 * kLanes) {
    Vf sums[kTokens][2] = {};
    for (int64_t r = 0; r < ranks; ++r) {
      const Vf b[2] = {Load(columns[r] + row), Load(columns[r] + row + kLanes)};
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
        const Vf factor = Splat(h[t * h_stride + r]);
        sums[t][0] += factor * b[0];
        sums[t][1] += factor * b[1];
      }
    }
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        float* y = out.y + t * out.stride + row + v * kLanes;
        const int64_t rest = out.rows - row - v * kLanes;
        if (rest >= kLanes) {
          Store(y, Load(y) + sums[t][v]);
        } else if (rest > 0) {
          StorePart(y, LoadPart(y, rest) + sums[t][v], rest);
        }
      }
    }
  }
}

void AddLowRankRange(const ConstMatrix& h, const MatrixView<const uint16_t>& b, const Matrix& y,
                     int64_t begin, int64_t end) {
  alignas(64) float columns[kRanks][kPanelRows];
  for (int64_t o = begin; o < end; o += kPanelRows) {
    const int64_t count = Min(kPanelRows, end - o);
    for (int64_t rank = 0; rank < h.cols; rank += kRanks) {
      const int64_t ranks = Min(kRanks, h.cols - rank);
      TransposeHalves(b, o, count, rank, ranks, columns);
      ForTiles(y.rows, [&](auto tokens, int64_t t) {
        AddLowRankTile<decltype(tokens)::kValue>(
            columns, ranks, h.data + t * h.stride + rank, h.stride,
            {.y = y.data + t * y.stride + o, .stride = y.stride, .rows = count, .add = true});
      });
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_LOW_RANK_INL_H_
