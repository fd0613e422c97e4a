// Products of many rows of activations with quantized or BF16 weights by AMX: both factors as
// bfloat16, sums in f32 over all of k.
//
// A piece of 32 rows of weights is unpacked into the first-level cache and multiplied with 32
// tokens at a time: 4 tiles of sums, 2 of activations, 2 of weights.  Around that, k is cut so that
// the activations read again and again stay in the second-level cache; sums wait in y meanwhile.
// Edges use tiles of fewer rows or columns: nothing outside x, w and y is touched.
//
// The backward pass sums over rows of w: rows lie in pairs in a tile, 256 columns (a block of the
// K-quants) are unpacked at a time.
#ifndef LORIKEET_KERNELS_SIMD_AMX_INL_H_
#define LORIKEET_KERNELS_SIMD_AMX_INL_H_

#include "kernels/fast_matmul.h"
#include "kernels/kernel_table.h"
#include "kernels/simd/amx_tiles_inl.h"
#include "kernels/simd/amx_unpack_inl.h"
#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

constexpr int64_t kBlockTokens = 2 * kTileRows;
constexpr int64_t kPieceCols = 512;               // of a piece of weights: 32 KiB as bfloat16
constexpr int64_t kActivationBytes = 1408 << 10;  // that may stay in the second-level cache
static_assert(kPanelColumns == 2 * kTileRows);

// Rows in use of the two tiles of tokens, columns of the two tiles of weights; 0: none.
struct BlockShape {
  int64_t tokens[2];
  int64_t columns[2];
  bool operator==(const BlockShape& other) const {
    return tokens[0] == other.tokens[0] && tokens[1] == other.tokens[1] &&
           columns[0] == other.columns[0] && columns[1] == other.columns[1];
  }
};

// Tiles: sums of tokens i and columns j in 2 i + j, activations i in 4 + i, weights j in 6 + j.
inline void Configure(const BlockShape& shape) {
  TileConfig config = {};
  config.palette = 1;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      if (shape.tokens[i] == 0 || shape.columns[j] == 0) continue;
      config.rows[2 * i + j] = static_cast<uint8_t>(shape.tokens[i]);
      config.colsb[2 * i + j] = static_cast<uint16_t>(4 * shape.columns[j]);
    }
    if (shape.tokens[i] > 0) {
      config.rows[4 + i] = static_cast<uint8_t>(shape.tokens[i]);
      config.colsb[4 + i] = kTileRowBytes;
    }
    if (shape.columns[i] > 0) {
      config.rows[6 + i] = kTileRows;
      config.colsb[6 + i] = static_cast<uint16_t>(4 * shape.columns[i]);
    }
  }
  LoadTileConfig(config);
}

// Two tiles side by side for each 32 values of k.
constexpr int64_t kStepBytes = 2 * kTileBytes;

struct Block {
  const uint8_t* a;  // activations, rows a_stride bytes apart
  int64_t a_stride;
  const uint8_t* b;  // unpacked weights
  int64_t steps;     // of 32 values of k
  uint8_t* c;        // sums, rows c_stride bytes apart
  int64_t c_stride;
  bool accumulate;
};

template <int kTile>
inline void StartSum(const Block& block, int64_t offset) {
  if (block.accumulate) {
    LoadTile<kTile>(block.c + offset, block.c_stride);
  } else {
    ZeroTile<kTile>();
  }
}

// kTokenTiles x kColumnTiles tiles of sums, 1 or 2 each.
template <int kTokenTiles, int kColumnTiles>
void MultiplyBlock(const Block& block) {
  const int64_t lower = kTileRows * block.c_stride;
  StartSum<0>(block, 0);
  if (kColumnTiles == 2) StartSum<1>(block, kTileRowBytes);
  if (kTokenTiles == 2) StartSum<2>(block, lower);
  if (kTokenTiles == 2 && kColumnTiles == 2) StartSum<3>(block, lower + kTileRowBytes);
  const uint8_t* a = block.a;
  const uint8_t* a_lower = block.a + kTileRows * block.a_stride;
  const uint8_t* b = block.b;
  for (int64_t s = 0; s < block.steps; ++s) {
    LoadTile<6>(b, kTileRowBytes);
    LoadTile<4>(a, block.a_stride);
    DotTiles<0, 4, 6>();
    if (kColumnTiles == 2) {
      LoadTile<7>(b + kTileBytes, kTileRowBytes);
      DotTiles<1, 4, 7>();
    }
    if (kTokenTiles == 2) {
      LoadTile<5>(a_lower, block.a_stride);
      DotTiles<2, 5, 6>();
      if (kColumnTiles == 2) DotTiles<3, 5, 7>();
    }
    a += kTileRowBytes;
    a_lower += kTileRowBytes;
    b += kStepBytes;
  }
  StoreTile<0>(block.c, block.c_stride);
  if (kColumnTiles == 2) StoreTile<1>(block.c + kTileRowBytes, block.c_stride);
  if (kTokenTiles == 2) StoreTile<2>(block.c + lower, block.c_stride);
  if (kTokenTiles == 2 && kColumnTiles == 2) {
    StoreTile<3>(block.c + lower + kTileRowBytes, block.c_stride);
  }
}

inline void MultiplyBlock(const BlockShape& shape, const Block& block) {
  if (shape.tokens[1] > 0) {
    return shape.columns[1] > 0 ? MultiplyBlock<2, 2>(block) : MultiplyBlock<2, 1>(block);
  }
  shape.columns[1] > 0 ? MultiplyBlock<1, 2>(block) : MultiplyBlock<1, 1>(block);
}

// One call's product and what of it the tiles are configured for.
struct AmxProduct {
  const RoundedActivations& x;
  const WeightView& w;
  const Matrix& y;
  int64_t end;  // of the rows of w
  bool accumulate;
  UnpackRow unpack;
  int block_elements;
  int block_bytes;
  BlockShape configured = {};

  const uint8_t* WeightAt(int64_t row, int64_t k) const {
    return w.data + row * w.row_bytes + k / block_elements * block_bytes;
  }
};

// Asks for the weights of rows [row, end of the panel), from k on, `share` of `shares` of the rows.
inline void PrefetchWeights(const AmxProduct& p, int64_t row, int64_t k, int64_t n, int64_t share,
                            int64_t shares) {
  const int64_t rows = Min(kPanelColumns, p.end - row);
  const int64_t bytes = (n + p.block_elements - 1) / p.block_elements * p.block_bytes;
  for (int64_t r = rows * share / shares; r < rows * (share + 1) / shares; ++r) {
    const uint8_t* from = p.WeightAt(row + r, k);
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(from + b, 0, 2);
  }
}

inline void PrefetchSums(const AmxProduct& p, int64_t t, int64_t row) {
  const int64_t end = Min(p.y.rows, t + kBlockTokens);
  for (; t < end; ++t) {
    const float* sums = p.y.data + t * p.y.stride + row;
    __builtin_prefetch(sums, 1, 3);
    __builtin_prefetch(sums + kTileRows, 1, 3);
  }
}

void UnpackPanel(const AmxProduct& p, int64_t row, int64_t k, int64_t n, uint8_t* tiles) {
  for (int64_t j = 0; j < 2 && row + j * kTileRows < p.end; ++j) {
    const int64_t first = row + j * kTileRows;
    UnpackTiles({.data = p.WeightAt(first, k),
                 .row_bytes = p.w.row_bytes,
                 .rows = Min(kTileRows, p.end - first),
                 .n = n,
                 .unpack = p.unpack,
                 .bytes_per_staged = kStagedCols / p.block_elements * p.block_bytes},
                kStepBytes, tiles + j * kTileBytes);
  }
}

// What of w a panel of tiles holds.
struct PanelPlace {
  int64_t row;  // the first of up to kPanelColumns
  int64_t k, n;
  int64_t next_row, next_k, next_n;  // of the piece that comes after it; next_n 0: none
};

// All tokens times one panel.
void MultiplyPanel(AmxProduct& p, const PanelPlace& place, const uint8_t* tiles) {
  const int64_t columns = Min(kPanelColumns, p.end - place.row);
  const int64_t blocks = (p.y.rows + kBlockTokens - 1) / kBlockTokens;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t t = b * kBlockTokens;
    const int64_t tokens = Min(kBlockTokens, p.y.rows - t);
    const BlockShape shape = {{Min(kTileRows, tokens), Max(0, tokens - kTileRows)},
                              {Min(kTileRows, columns), Max(0, columns - kTileRows)}};
    if (!(shape == p.configured)) {
      Configure(shape);
      p.configured = shape;
    }
    if (place.next_n > 0) {
      PrefetchWeights(p, place.next_row, place.next_k, place.next_n, b, blocks);
    }
    PrefetchSums(p, t + kBlockTokens, place.row);
    MultiplyBlock(shape,
                  {.a = reinterpret_cast<const uint8_t*>(p.x.bf16 + t * p.x.bf16_stride + place.k),
                   .a_stride = 2 * p.x.bf16_stride,
                   .b = tiles,
                   .steps = (place.n + kStepCols - 1) / kStepCols,
                   .c = reinterpret_cast<uint8_t*>(p.y.data + t * p.y.stride + place.row),
                   .c_stride = static_cast<int64_t>(sizeof(float)) * p.y.stride,
                   .accumulate = p.accumulate || place.k > 0});
  }
}

inline int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

// REQUIRES: x.bf16 has rows padded with zeros to a multiple of 32 values.
void MatMulAmxRange(const RoundedActivations& x, const WeightView& w, const Matrix& y,
                    int64_t begin, int64_t end, bool accumulate) {
  const TensorTypeTraits& traits = TraitsOf(w.type);
  AmxProduct p = {.x = x,
                  .w = w,
                  .y = y,
                  .end = end,
                  .accumulate = accumulate,
                  .unpack = UnpackerOf(w.type),
                  .block_elements = traits.block_elements,
                  .block_bytes = traits.block_bytes};
  alignas(64) uint8_t tiles[kPieceCols / kStepCols * kStepBytes];
  // Pieces of equal length, on borders of blocks.
  const int64_t unit = Max(kStepCols, traits.block_elements);
  const int64_t count = DivideUp(w.cols, kPieceCols);
  const int64_t piece = DivideUp(DivideUp(w.cols, count), unit) * unit;
  const int64_t slab = piece * Max(1, kActivationBytes / (2 * piece * y.rows));
  for (int64_t slab_k = 0; slab_k < w.cols; slab_k += slab) {
    const int64_t slab_end = Min(w.cols, slab_k + slab);
    for (int64_t row = begin; row < end; row += kPanelColumns) {
      for (int64_t k = slab_k; k < slab_end; k += piece) {
        PanelPlace place = {row, k, Min(piece, slab_end - k), row, k + piece, 0};
        if (place.next_k >= slab_end) {
          place.next_row = row + kPanelColumns;
          place.next_k = slab_k;
        }
        if (place.next_row < end) place.next_n = Min(piece, slab_end - place.next_k);
        UnpackPanel(p, row, k, place.n, tiles);
        MultiplyPanel(p, place, tiles);
      }
    }
  }
  ReleaseTiles();
}

constexpr int64_t kPieceRows = 512;  // of w, that tiles are unpacked of at a time
constexpr int64_t kPanelBytes = kPieceRows / kStepCols * kStepBytes;

// d_x[:, column..) (+)= all tokens times one panel of unpacked rows [row, row + rows) of w.
void MultiplyAcross(const RoundedActivations& d_y, int64_t row, int64_t rows, const uint8_t* tiles,
                    const Matrix& d_x, int64_t column, bool accumulate, BlockShape* configured) {
  for (int64_t t = 0; t < d_x.rows; t += kBlockTokens) {
    const int64_t tokens = Min(kBlockTokens, d_x.rows - t);
    const BlockShape shape = {{Min(kTileRows, tokens), Max(0, tokens - kTileRows)},
                              {kTileRows, kTileRows}};
    if (!(shape == *configured)) {
      Configure(shape);
      *configured = shape;
    }
    MultiplyBlock(shape,
                  {.a = reinterpret_cast<const uint8_t*>(d_y.bf16 + t * d_y.bf16_stride + row),
                   .a_stride = 2 * d_y.bf16_stride,
                   .b = tiles,
                   .steps = DivideUp(rows, kStepCols),
                   .c = reinterpret_cast<uint8_t*>(d_x.data + t * d_x.stride + column),
                   .c_stride = static_cast<int64_t>(sizeof(float)) * d_x.stride,
                   .accumulate = accumulate});
  }
}

// REQUIRES: w is quantized; d_y.bf16 has rows padded with zeros to a multiple of 32 values.
void MatMulBackwardAmxRange(const RoundedActivations& d_y, const WeightView& w, const Matrix& d_x,
                            int64_t begin, int64_t end, bool accumulate) {
  const TensorTypeTraits& traits = TraitsOf(w.type);
  alignas(64) uint8_t tiles[kStagedCols / kPanelColumns * kPanelBytes];
  BlockShape configured = {};
  for (int64_t c = begin; c < end; c += kStagedCols) {
    const int64_t columns = Min(kStagedCols, end - c);
    for (int64_t row = 0; row < w.rows; row += kPieceRows) {
      const int64_t rows = Min(kPieceRows, w.rows - row);
      UnpackTilesAcross(
          {.data = w.data + row * w.row_bytes + c / traits.block_elements * traits.block_bytes,
           .row_bytes = w.row_bytes,
           .rows = rows,
           .n = columns,
           .unpack = UnpackerOf(w.type),
           .bytes_per_staged = 0},
          kPanelBytes, tiles);
      for (int64_t j = 0; j < columns; j += kPanelColumns) {
        MultiplyAcross(d_y, row, rows, tiles + j / kPanelColumns * kPanelBytes, d_x, c + j,
                       accumulate || row > 0, &configured);
      }
    }
  }
  ReleaseTiles();
}

// Fills rounded.bf16, rows [begin, end).
void RoundBf16Rows(const RoundedActivations& rounded, int64_t begin, int64_t end) {
  const int64_t cols = rounded.x.cols;
  for (int64_t t = begin; t < end; ++t) {
    const float* x = rounded.x.data + t * rounded.x.stride;
    // The view is const for the products; this is what fills it.
    auto* to = const_cast<uint16_t*>(rounded.bf16 + t * rounded.bf16_stride);
    for (int64_t c = 0; c < cols; c += kStepCols) {
      const int64_t left = cols - c;
      const auto mask = left < kStepCols ? (1u << left) - 1 : ~0u;
      StoreBf16(to + c, _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + c),
                _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + c + kLanes));
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_AMX_INL_H_
