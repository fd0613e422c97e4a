// The second half of low-rank updates: y += h b^T, with few columns of h and many of y.
#ifndef LORIKEET_KERNELS_SIMD_LOW_RANK_INL_H_
#define LORIKEET_KERNELS_SIMD_LOW_RANK_INL_H_

#include "kernels/simd/tile_inl.h"

namespace lorikeet {
namespace {

constexpr int kRanks = 64;  // columns of h at a time
constexpr int kHalves = 8;  // that LoadColumns takes

// Calls take(j, i, v) with columns j of kHalves, rows i, i + 1, ... of kPanelRows.
template <typename Take>
__attribute__((always_inline)) inline void WidenColumns(BlockRows rows, const Take& take) {
#pragma GCC unroll 4
  for (int i = 0; i < kPanelRows; i += kLanes) {
    const Columns pairs = LoadColumns({rows.rows + i, rows.offset}, 0);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      take(2 * j, i, LowHalves(pairs.dwords[j]));
      take(2 * j + 1, i, HighHalves(pairs.dwords[j]));
    }
  }
}

// Calls take(r, i, v) with element rank + r of rows begin + i, ... of b, r < ranks and maybe some
// more, of zeros; rows past `count` repeat the last.
template <typename Take>
void ForColumns(const MatrixView<const uint16_t>& b, int64_t begin, int64_t count, int64_t rank,
                int64_t ranks, const Take& take) {
  const uint8_t* rows[kPanelRows];
  for (int64_t i = 0; i < kPanelRows; ++i) {
    rows[i] = reinterpret_cast<const uint8_t*>(b.data + (begin + Min(i, count - 1)) * b.stride);
  }
  const int64_t whole = ranks / kHalves * kHalves;
  for (int64_t r = 0; r < whole; r += kHalves) {
    WidenColumns({rows, 2 * (rank + r)},
                 [&](int j, int i, Vf v) __attribute__((always_inline)) { take(r + j, i, v); });
  }
  if (whole == ranks) return;
  // The last columns by way of a copy: loads of eight would pass the end of b.
  uint16_t rest[kPanelRows][kHalves] = {};
  const uint8_t* rest_rows[kPanelRows];
  for (int64_t i = 0; i < kPanelRows; ++i) {
    __builtin_memcpy(rest[i], rows[i] + 2 * (rank + whole),
                     static_cast<size_t>(2 * (ranks - whole)));
    rest_rows[i] = reinterpret_cast<const uint8_t*>(rest[i]);
  }
  WidenColumns({rest_rows, 0},
               [&](int j, int i, Vf v) __attribute__((always_inline)) { take(whole + j, i, v); });
}

// y[0..n) += sums.
inline void AddPart(float* y, Vf sums, int64_t n) {
  if (n >= kLanes) {
    Store(y, Load(y) + sums);
  } else if (n > 0) {
    StorePart(y, LoadPart(y, n) + sums, n);
  }
}

// One row of h, where keeping the columns of b does not pay.
void AddLowRankRow(const float* h, const MatrixView<const uint16_t>& b, float* y, int64_t begin,
                   int64_t count, int64_t rank, int64_t ranks) {
  float factors[kRanks] = {};
  for (int64_t r = 0; r < ranks; ++r) factors[r] = h[rank + r];
  Vf sums[kPanelRows / kLanes] = {};
  ForColumns(b, begin, count, rank, ranks,
             [&](int64_t r, int i, Vf v)
                 __attribute__((always_inline)) { sums[i / kLanes] += factors[r] * v; });
  for (int i = 0; i < kPanelRows; i += kLanes) {
    AddPart(y + begin + i, sums[i / kLanes], count - i);
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
        AddPart(out.y + t * out.stride + row + v * kLanes, sums[t][v], out.rows - row - v * kLanes);
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
      if (y.rows == 1) {
        AddLowRankRow(h.data, b, y.data, o, count, rank, ranks);
        continue;
      }
      ForColumns(b, o, count, rank, ranks,
                 [&](int64_t r, int i, Vf v)
                     __attribute__((always_inline)) { Store(columns[r] + i, v); });
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
