// The backward product of many rows of rounded gradients: columns of weights become the rows of
// panels, rounded once more to 8 bit for every 32 that are summed up, and are then multiplied as
// those of Q8_0 are.
//
// Weights are dequantized to floats 32 rows at a time, in vectors along their rows: a vector's
// lanes are rows of the panel, and what 32 vectors need to become bytes is the largest of each
// lane.
#ifndef LORIKEET_KERNELS_SIMD_TRANSPOSED_INL_H_
#define LORIKEET_KERNELS_SIMD_TRANSPOSED_INL_H_

#include "kernels/kernel_table.h"
#include "kernels/simd/batch_inl.h"
#include "kernels/simd/unpack_inl.h"

namespace lorikeet {
namespace {

constexpr int kGroupRows = 32;  // of weights that share a scale, in a column
constexpr int kBackwardPanels = kBackwardColumns / kPanelRows;

// 32 rows of weights, in so many columns that they stay in the first-level cache (but never less
// than a block's).  Not a power of two, which would use few sets of the cache.
constexpr int64_t kPieceColumns = 128;
constexpr int64_t kPieceStride = kBackwardColumns + 16;
struct Piece {
  alignas(64) float w[kGroupRows * kPieceStride];
};

inline Vf Magnitude(Vf v) { return reinterpret_cast<Vf>(reinterpret_cast<Vi>(v) & 0x7fffffff); }

// Four vectors of floats, rounded: byte i of a lane is that of v[i].
inline Vu RoundToBytes(const Vf (&v)[4]) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#ifdef LORIKEET_SIMD_512
  __m512i q[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) q[i] = _mm512_cvtps_epi32(v[i]);
  const __m512i bytes =
      _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
  return reinterpret_cast<Vu>(_mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(order)));
#else
  __m256i q[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) q[i] = _mm256_cvtps_epi32(v[i]);
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  return reinterpret_cast<Vu>(_mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order)));
#endif
}

// kLanes columns of a piece.
__attribute__((always_inline)) inline void PutColumns(const float* w, const PanelPlace& place) {
  Vf largest[2] = {};
#pragma GCC unroll 8
  for (int r = 0; r < kGroupRows; r += 2) {
    largest[0] = VecMax(largest[0], Magnitude(Load(w + r * kPieceStride)));
    largest[1] = VecMax(largest[1], Magnitude(Load(w + (r + 1) * kPieceStride)));
  }
  const Vf most = VecMax(largest[0], largest[1]);
  // Finite, so that zeros and numbers too small for it become 0.
  const Vf inverse = VecMin(127.0f / most, Splat(__FLT_MAX__));
  Vu bytes[kGroupRows / 4];
#pragma GCC unroll 8
  for (int j = 0; j < kGroupRows / 4; ++j) {
    Vf v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) v[i] = Load(w + (4 * j + i) * kPieceStride) * inverse;
    bytes[j] = RoundToBytes(v);
  }
  PutGroup<BlockQ8_0>(place, 0, bytes, most / 127.0f, Vf{});
}

// A part of the weights: rows [row, row + rows), columns [column, column + columns).
struct Part {
  int64_t row, rows;
  int64_t column, columns;
};

// From the second-level cache into the first.
constexpr int64_t kRowsAhead = 8;
inline void PrefetchRow(const uint8_t* row, int64_t bytes) {
  for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b);
  __builtin_prefetch(row + bytes - 1);
}

// Rows behind the last, up to a multiple of 32, are zeros.
void UnpackTransposed(const WeightView& w, const Part& part, Piece* piece, Panel* panels) {
  const TensorTypeTraits& traits = TraitsOf(w.type);
  const int64_t width = Max(kPieceColumns, traits.block_elements);
  for (int64_t o = 0; o < part.rows; o += kGroupRows) {
    for (int64_t c = 0; c < part.columns; c += width) {
      const int64_t n = Min(width, part.columns - c);
      const int64_t offset = (part.column + c) / traits.block_elements * traits.block_bytes;
      for (int64_t r = 0; r < kGroupRows; ++r) {
        float* to = piece->w + r * kPieceStride;
        if (o + r < part.rows) {
          const uint8_t* row = w.data + (part.row + o + r) * w.row_bytes + offset;
          PrefetchRow(row + kRowsAhead * w.row_bytes,
                      n / traits.block_elements * traits.block_bytes);
          DequantizeFast(w.type, row, n, to);
        } else {
          for (int64_t i = 0; i < n; i += kLanes) Store(to + i, Vf{});
        }
      }
      for (int64_t i = 0; i < n; i += kLanes) {
        PutColumns(piece->w + i,
                   {panels + (c + i) / kPanelRows, static_cast<int>((c + i) % kPanelRows), o});
      }
    }
  }
}

// The weights of a part, for NextWeights::Prefetch.
inline NextWeights WeightsOf(const WeightView& w, const Part& part) {
  const TensorTypeTraits& traits = TraitsOf(w.type);
  const int64_t offset = part.column / traits.block_elements * traits.block_bytes;
  return {.data = w.data + part.row * w.row_bytes + offset,
          .row_bytes = w.row_bytes,
          .rows = part.rows,
          .bytes = part.columns / traits.block_elements * traits.block_bytes};
}

// The part that is unpacked after `part`, in this call or (so it is guessed) the next.
inline Part NextPart(const WeightView& w, const Part& part) {
  const int64_t row = part.row + part.rows;
  if (row < w.rows) return {row, Min(kSlice, w.rows - row), part.column, part.columns};
  const int64_t column = part.column + part.columns;
  return {0, Min(kSlice, w.rows), column, Min(part.columns, w.cols - column)};
}

// Rows [t, t + tokens), columns [begin, begin + n), of gradients too long for the second-level
// cache.
inline void PrefetchTokens(const RoundedActivations& x, int64_t t, int64_t tokens, int64_t begin,
                           int64_t n) {
  for (int64_t i = t; i < Min(x.x.rows, t + tokens); ++i) {
    const int8_t* q = x.q + i * x.q_stride + begin;
    for (int64_t b = 0; b < n; b += 64) __builtin_prefetch(q + b, 0, 2);
    __builtin_prefetch(x.scales + i * x.scale_stride + begin / 32, 0, 2);
  }
}

void MultiplyTransposed(const RoundedActivations& d_y, const WeightView& w, const Part& part,
                        const Panel* panels, const Matrix& d_x, bool add) {
  TokenTile tile;
  const int64_t groups = (part.rows + kGroupRows - 1) / kGroupRows;
  const NextWeights next = WeightsOf(w, NextPart(w, part));
  ForTiles(d_x.rows, [&](auto tokens, int64_t t) {
    constexpr int kTokens = decltype(tokens)::kValue;
    PrefetchOutput(d_x, t, kTokens, part.column, part.columns);
    PrefetchTokens(d_y, t + kTokens, kTokens, part.row, part.rows);
    FillTokens<BlockQ8_0>(d_y, t, kTokens, part.row, groups * kGroupRows, &tile);
    for (int64_t i = 0; i < part.columns; i += kPanelRows) {
      const int64_t rows = Min(kPanelRows, part.columns - i);
      next.Prefetch(t * part.columns + kTokens * i, kTokens * rows, d_x.rows * part.columns);
      MultiplyTile<BlockQ8_0, kTokens>(panels[i / kPanelRows], tile, static_cast<int>(groups),
                                       {.y = d_x.data + t * d_x.stride + part.column + i,
                                        .stride = d_x.stride,
                                        .rows = rows,
                                        .add = add});
    }
  });
}

void MatMulBatchBackwardRange(const RoundedActivations& d_y, const WeightView& w, const Matrix& d_x,
                              int64_t begin, int64_t end, bool accumulate) {
  Panel panels[kBackwardPanels];
  Piece piece;
  for (int64_t c = begin; c < end; c += kBackwardColumns) {
    for (int64_t o = 0; o < w.rows; o += kSlice) {
      const Part part = {o, Min(kSlice, w.rows - o), c, Min(kBackwardColumns, end - c)};
      UnpackTransposed(w, part, &piece, panels);
      MultiplyTransposed(d_y, w, part, panels, d_x, accumulate || o > 0);
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_TRANSPOSED_INL_H_
