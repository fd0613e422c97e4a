// Blocked f32 matrix product: a register tile over packed panels of B; A is read where it lies.
//
// Source of the scheme: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
// (2008); A needs no packing because only broadcasts of its elements are used.
#ifndef LORIKEET_KERNELS_SIMD_GEMM_INL_H_
#define LORIKEET_KERNELS_SIMD_GEMM_INL_H_

#include "kernels/kernel_table.h"
#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

#ifdef LORIKEET_SIMD_512
constexpr int kTileRows = 12;  // 24 of 32 registers accumulate
#else
constexpr int kTileRows = 6;  // 12 of 16
#endif
constexpr int kTileCols = 2 * kLanes;
constexpr int64_t kDepth = 256;  // of a packed panel: 32 KiB at most

struct Tile {
  const float* a;
  int64_t a_stride;  // between rows (kUnitK) or between k
  const float* b;
  int64_t b_stride;
  int64_t depth;
  float* c;
  int64_t c_row;
  float alpha;
  bool accumulate;
};

struct Nothing {
  void operator()() const {}
};

// kRows x (kVecs * kLanes) of C.  kUnitK: a(i, k) = a[i * a_stride + k], else a[i + k * a_stride].
// each_step() is called for every k.
template <int kRows, int kVecs, bool kUnitK, typename EachStep = Nothing>
inline void RunTile(const Tile& t, EachStep each_step = {}) {
  Vf sums[kRows][kVecs] = {};
  const float* b = t.b;
  const int64_t stride = t.a_stride;
  constexpr int kPointers = (kRows + 3) / 4;
  const float* a[kPointers];
#pragma GCC unroll 4
  for (int p = 0; p < kPointers; ++p) a[p] = t.a + p * 4 * (kUnitK ? stride : 1);
  for (int64_t k = 0; k < t.depth; ++k) {
    each_step();
    Vf b_vecs[kVecs];
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) b_vecs[v] = Load(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Vf x = Splat(a[i / 4][kUnitK ? (i % 4) * stride : i % 4]);
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) sums[i][v] += x * b_vecs[v];
    }
    b += t.b_stride;
#pragma GCC unroll 4
    for (int p = 0; p < kPointers; ++p) a[p] += kUnitK ? 1 : stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) {
      float* c = t.c + i * t.c_row + v * kLanes;
      Store(c, t.accumulate ? Load(c) + t.alpha * sums[i][v] : t.alpha * sums[i][v]);
    }
  }
}

// C columns fewer than the tile has: through a buffer.
template <int kRows, int kVecs, bool kUnitK>
inline void RunPart(const Tile& t, int64_t cols) {
  if (cols == kVecs * kLanes) return RunTile<kRows, kVecs, kUnitK>(t);
  float buffer[kRows * kVecs * kLanes];
  Tile part = t;
  part.c = buffer;
  part.c_row = kVecs * kLanes;
  part.accumulate = false;
  RunTile<kRows, kVecs, kUnitK>(part);
  for (int i = 0; i < kRows; ++i) {
    float* c = t.c + i * t.c_row;
    const float* from = buffer + i * kVecs * kLanes;
    for (int64_t j = 0; j < cols; ++j) c[j] = t.accumulate ? c[j] + from[j] : from[j];
  }
}

template <int kRows, int kVecs, bool kUnitK>
__attribute__((noinline)) int64_t RunRows(Tile t, int64_t rows, int64_t cols, int64_t row) {
  const int64_t step = kUnitK ? t.a_stride : 1;
  t.a += row * step;
  t.c += row * t.c_row;
  for (; row + kRows <= rows; row += kRows) {
    RunPart<kRows, kVecs, kUnitK>(t, cols);
    t.a += kRows * step;
    t.c += kRows * t.c_row;
  }
  return row;
}

// All rows against one panel of `cols` <= kVecs * kLanes columns.
template <int kVecs, bool kUnitK>
void RunPanelOf(const Tile& t, int64_t rows, int64_t cols) {
  int64_t row = RunRows<kTileRows, kVecs, kUnitK>(t, rows, cols, 0);
#ifdef LORIKEET_SIMD_512
  row = RunRows<8, kVecs, kUnitK>(t, rows, cols, row);
#endif
  row = RunRows<4, kVecs, kUnitK>(t, rows, cols, row);
  row = RunRows<2, kVecs, kUnitK>(t, rows, cols, row);
  RunRows<1, kVecs, kUnitK>(t, rows, cols, row);
}

void RunPanel(const Tile& t, bool unit_k, int64_t rows, int64_t cols) {
  if (cols > kLanes)
    return unit_k ? RunPanelOf<2, true>(t, rows, cols) : RunPanelOf<2, false>(t, rows, cols);
  unit_k ? RunPanelOf<1, true>(t, rows, cols) : RunPanelOf<1, false>(t, rows, cols);
}

// to[j][i] = r[i][j].
inline void StoreTransposed8(__m256 (&r)[8], float* to, int64_t to_stride) {
  __m256 s[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    s[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    s[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    r[4 * i] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

// 8 x 8 floats: to[j][i] = from[i][j].
inline void Transpose8(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  __m256 r[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(from + i * from_stride);
  StoreTransposed8(r, to, to_stride);
}

// packed [depth, kTileCols] = transpose of from [cols, depth]; columns beyond `cols` are 0.
void PackTransposed(const float* from, int64_t stride, int64_t cols, int64_t depth, float* packed) {
  const int64_t cols8 = cols / 8 * 8;
  const int64_t depth8 = depth / 8 * 8;
  for (int64_t j = 0; j < cols8; j += 8) {
    for (int64_t k = 0; k < depth8; k += 8) {
      Transpose8(from + j * stride + k, stride, packed + k * kTileCols + j, kTileCols);
    }
    for (int64_t k = depth8; k < depth; ++k) {
      for (int64_t i = j; i < j + 8; ++i) packed[k * kTileCols + i] = from[i * stride + k];
    }
  }
  if (cols8 == kTileCols) return;
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t j = cols8; j < kTileCols; ++j) {
      packed[k * kTileCols + j] = j < cols ? from[j * stride + k] : 0.0f;
    }
  }
}

// packed [depth, kTileCols] = from [depth, cols].
void PackRows(const float* from, int64_t stride, int64_t cols, int64_t depth, float* packed) {
  for (int64_t k = 0; k < depth; ++k) {
    const float* row = from + k * stride;
    float* to = packed + k * kTileCols;
    if (cols == kTileCols) {
      Store(to, Load(row));
      Store(to + kLanes, Load(row + kLanes));
    } else {
      for (int64_t j = 0; j < kTileCols; ++j) to[j] = j < cols ? row[j] : 0.0f;
    }
  }
}

// Points the tile at B's panel, packed unless its rows can be used where they lie.
void PreparePanel(const GemmArgs& g, const float* b, int64_t cols, int64_t depth, float* packed,
                  Tile* tile) {
  tile->b = packed;
  tile->b_stride = kTileCols;
  if (g.b_col != 1) return PackTransposed(b, g.b_col, cols, depth, packed);
  const bool whole = cols == kTileCols || cols == kLanes;
  if (whole && g.m <= 2 * kTileRows) {
    tile->b = b;
    tile->b_stride = g.b_k;
  } else {
    PackRows(b, g.b_k, cols, depth, packed);
  }
}

inline void Gemm(const GemmArgs& g) {
  alignas(64) float packed[kDepth * kTileCols];
  const bool unit_k = g.a_k == 1;
  for (int64_t j = 0; j < g.n; j += kTileCols) {
    const int64_t cols = Min(kTileCols, g.n - j);
    for (int64_t k = 0; k < g.k; k += kDepth) {
      Tile tile{.a = g.a + k * g.a_k,
                .a_stride = unit_k ? g.a_row : g.a_k,
                .b = nullptr,
                .b_stride = 0,
                .depth = Min(kDepth, g.k - k),
                .c = g.c + j,
                .c_row = g.c_row,
                .alpha = g.alpha,
                .accumulate = g.accumulate || k > 0};
      PreparePanel(g, g.b + k * g.b_k + j * g.b_col, cols, tile.depth, packed, &tile);
      RunPanel(tile, unit_k, g.m, cols);
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_GEMM_INL_H_
