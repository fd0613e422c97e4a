// Low-rank updates and their gradients in f32: thin products that read or write wide matrices.
//
// Wide rows are swept in blocks that stay in the core's own cache, along their rows first, so that
// the prefetcher follows; everything that a block is needed for is done while it is there.  Vectors
// lie along the wide rows whatever the rank.  No sum depends on how rows or columns are shared out.
#ifndef LORIKEET_KERNELS_SIMD_LOW_RANK_TRAIN_INL_H_
#define LORIKEET_KERNELS_SIMD_LOW_RANK_TRAIN_INL_H_

#include "kernels/simd/gemm_inl.h"

namespace lorikeet {
namespace {

#ifdef LORIKEET_SIMD_512
constexpr int kRanksAtOnce = 8;
#else
constexpr int kRanksAtOnce = 4;
#endif
constexpr int kRowsAtOnce = 3;          // with kRanksAtOnce sums each, in registers
constexpr int64_t kSweepColumns = 640;  // of a block
constexpr int64_t kSweepRows = 48;
constexpr int64_t kPackedFloats = kSweepColumns * kLoraRanks;

// A thin matrix [R, columns], column c of row r at data[c / kTileCols * panel + r * row +
// c % kTileCols]: as it lies, or packed by panels of columns.
template <typename T>
struct Thin {
  T* data;
  int64_t row;
  int64_t panel;
  Thin At(int64_t rank, int64_t column) const {
    return {data + rank * row + column / kTileCols * panel, row, panel};
  }
};
inline Thin<const float> AsItLies(const ConstMatrix& m, int64_t column) {
  return {m.data + column, m.stride, kTileCols};
}

// Loaded once, not by each instruction that uses it.
inline Vf InRegister(Vf v) {
  asm("" : "+v"(v));
  return v;
}

// Sums over the lanes of eight vectors.
inline __m256 Sum8(const Vf* v) {
  __m256 h[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
#ifdef LORIKEET_SIMD_512
    h[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
#else
    h[i] = v[i];
#endif
  }
  const __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(h[0], h[1]), _mm256_hadd_ps(h[2], h[3]));
  const __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(h[4], h[5]), _mm256_hadd_ps(h[6], h[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20),
                       _mm256_permute2f128_ps(low, high, 0x31));
}

struct ProjectTile {
  const float* x;
  int64_t x_stride;
  Thin<const float> a;
  int64_t columns;
  float* h;
  int64_t h_stride;
  float scale;
  bool accumulate;
};

// h [kRows, kRanks] = scale * x a^T, or +=.
template <int kRows, int kRanks>
__attribute__((noinline)) void Project(const ProjectTile& t) {
  constexpr int kSums = (kRows * kRanks + 7) / 8 * 8;
  Vf sums[kSums] = {};
  const auto step = [&](const auto& load, int64_t column) __attribute__((always_inline)) {
    const float* a = t.a.data + column / kTileCols * t.a.panel + column % kTileCols;
    Vf x[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const float* row = t.x + i * t.x_stride + column;
      x[i] = load(row);
      __builtin_prefetch(row + kRows * t.x_stride);  // those of the next call
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRanks; ++r) {
      const Vf row = InRegister(load(a + r * t.a.row));
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) sums[i * kRanks + r] += x[i] * row;
    }
  };
  int64_t column = 0;
  for (; column + kLanes <= t.columns; column += kLanes) {
    step([](const float* p) __attribute__((always_inline)) { return Load(p); }, column);
  }
  if (column < t.columns) {
    const int64_t rest = t.columns - column;
    step([rest](const float* p) { return LoadPart(p, rest); }, column);
  }
  alignas(32) float totals[kSums];
#pragma GCC unroll 4
  for (int i = 0; i < kSums; i += 8) _mm256_store_ps(totals + i, Sum8(sums + i));
  for (int i = 0; i < kRows; ++i) {
    float* h = t.h + i * t.h_stride;
    for (int r = 0; r < kRanks; ++r) {
      const float total = t.scale * totals[i * kRanks + r];
      h[r] = t.accumulate ? h[r] + total : total;
    }
  }
}

template <int kRows, int kRanks>
void ProjectRows(ProjectTile t, int64_t rows) {
  int64_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    Project<kRows, kRanks>(t);
    t.x += kRows * t.x_stride;
    t.h += kRows * t.h_stride;
  }
  for (; i < rows; ++i) {
    Project<1, kRanks>(t);
    t.x += t.x_stride;
    t.h += t.h_stride;
  }
}

// Calls body(count, rank) for ranges of ranks, count being a type's constant.
template <int kCount>
struct Ranks {
  static constexpr int kValue = kCount;
};
template <typename Body>
inline void ForRanks(int64_t ranks, const Body& body) {
  int64_t r = 0;
  for (; r + kRanksAtOnce <= ranks; r += kRanksAtOnce) body(Ranks<kRanksAtOnce>{}, r);
  if (kRanksAtOnce > 4 && r + 4 <= ranks) body(Ranks<4>{}, r), r += 4;
  if (r + 2 <= ranks) body(Ranks<2>{}, r), r += 2;
  if (r < ranks) body(Ranks<1>{}, r);
}

// h [rows, ranks] = scale * x a^T, or +=; tile.x, tile.a and tile.h at their first elements.
void ProjectBlock(const ProjectTile& tile, int64_t rows, int64_t ranks) {
  ForRanks(ranks, [&](auto count, int64_t r) {
    ProjectTile part = tile;
    part.a = tile.a.At(r, 0);
    part.h += r;
    ProjectRows<kRowsAtOnce, decltype(count)::kValue>(part, rows);
  });
}

// x [rows, columns], of which columns of d are the sums: d += h^T x.
struct CollectTile {
  const float* x;
  int64_t x_stride;
  const float* h;
  int64_t h_stride;
  int64_t rows;
};

// kVecs vectors of columns from `d` on, or one, of `part` < kLanes columns.
template <int kRanks, int kVecs>
__attribute__((noinline)) void Collect(const CollectTile& t, float* d, int64_t d_row,
                                       int64_t part) {
  Vf sums[kRanks][kVecs];
  const auto run = [&](const auto& load, const auto& store) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int r = 0; r < kRanks; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) sums[r][v] = load(d + r * d_row + v * kLanes);
    }
    const float* x = t.x;
    const float* h = t.h;
    for (int64_t i = 0; i < t.rows; ++i) {
      Vf row[kVecs];
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) row[v] = load(x + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRanks; ++r) {
        const Vf factor = Splat(h[r]);
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) sums[r][v] += factor * row[v];
      }
      x += t.x_stride;
      h += t.h_stride;
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRanks; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) store(d + r * d_row + v * kLanes, sums[r][v]);
    }
  };
  if (part == 0) {
    run([](const float* p) __attribute__((always_inline)) { return Load(p); },
        [](float* p, Vf v) __attribute__((always_inline)) { Store(p, v); });
  } else {
    run([part](const float* p) { return LoadPart(p, part); },
        [part](float* p, Vf v) { StorePart(p, v, part); });
  }
}

// d [ranks, columns] += h^T x, column by column of panels.
void CollectBlock(const CollectTile& tile, int64_t columns, int64_t ranks, Thin<float> d) {
  for (int64_t c = 0; c < columns; c += kTileCols) {
    const int64_t count = Min(kTileCols, columns - c);
    ForRanks(ranks, [&](auto ranks_at_once, int64_t r) {
      constexpr int kRanks = decltype(ranks_at_once)::kValue;
      CollectTile t = tile;
      t.x += c;
      t.h += r;
      const Thin<float> out = d.At(r, c);
      if (count == kTileCols) return Collect<kRanks, 2>(t, out.data, out.row, 0);
      for (int64_t v = 0; v < count; v += kLanes) {
        Collect<kRanks, 1>(t, out.data + v, out.row, count - v < kLanes ? count - v : 0);
        t.x += kLanes;
      }
    });
  }
}

// y [rows, columns] += scale * h a.
struct AddTile {
  const float* h;
  int64_t h_stride;
  Thin<const float> a;
  float scale;
  float* y;
  int64_t y_stride;
};

// As many rows as a register tile has.
void AddRowsBlock(const AddTile& t, int64_t rows, int64_t columns, int64_t ranks) {
  for (int64_t c = 0; c < columns; c += kTileCols) {
    const int64_t count = Min(kTileCols, columns - c);
    Tile tile{.a = t.h,
              .a_stride = t.h_stride,
              .b = t.a.At(0, c).data,
              .b_stride = t.a.row,
              .depth = ranks,
              .c = t.y + c,
              .c_row = t.y_stride,
              .alpha = t.scale,
              .accumulate = true};
    // With so few ranks RunPanel's calls would cost as much as the products.
    if (rows == kTileRows && count == kTileCols) {
      RunTile<kTileRows, 2, /*kUnitK=*/true>(tile);
      continue;
    }
    // Loads whole panels, which only packed ones are sure to have.
    alignas(64) float whole[kLoraRanks * kTileCols];
    if (count < kTileCols && t.a.panel == kTileCols) {
      PackRows(tile.b, tile.b_stride, count, ranks, whole);
      tile.b = whole;
      tile.b_stride = kTileCols;
    }
    RunPanel(tile, /*unit_k=*/true, rows, count);
  }
}

void AddBlock(AddTile t, int64_t rows, int64_t columns, int64_t ranks) {
  for (int64_t i = 0; i < rows; i += kTileRows) {
    AddRowsBlock(t, Min(kTileRows, rows - i), columns, ranks);
    t.h += kTileRows * t.h_stride;
    t.y += kTileRows * t.y_stride;
  }
}

// Rows [begin, begin + count) of b, ranks from `rank` on, as a thin matrix.
Thin<const float> PackColumns(const ConstMatrix& b, int64_t begin, int64_t count, int64_t rank,
                              int64_t ranks, float* packed) {
  for (int64_t c = 0; c < count; c += kTileCols) {
    PackTransposed(b.data + (begin + c) * b.stride + rank, b.stride, Min(kTileCols, count - c),
                   ranks, packed + c * ranks);
  }
  return {packed, kTileCols, kTileCols * ranks};
}

// d_b[begin + c][r] += scale * sums(r, c).
void AddTransposed(const Thin<float>& sums, int64_t begin, int64_t count, int64_t ranks,
                   float scale, const Matrix& d_b) {
  for (int64_t c = 0; c < count; c += 8) {
    for (int64_t r = 0; r < ranks; r += 8) {
      float* from = sums.At(r, c).data + c % kTileCols;
      float* to = d_b.data + (begin + c) * d_b.stride + r;
      if (c + 8 <= count && r + 8 <= ranks) {
        alignas(32) float part[64];
        Transpose8(from, sums.row, part, 8);
        for (int i = 0; i < 8; ++i) {
          for (int j = 0; j < 8; ++j) to[i * d_b.stride + j] += scale * part[8 * i + j];
        }
        continue;
      }
      for (int64_t i = 0; i < Min(8, count - c); ++i) {
        for (int64_t j = 0; j < Min(8, ranks - r); ++j) {
          to[i * d_b.stride + j] += scale * from[j * sums.row + i];
        }
      }
    }
  }
}

void LoraProjectRange(const ConstMatrix& x, const ConstMatrix& a, const Matrix& h, int64_t begin,
                      int64_t end) {
  for (int64_t c = 0; c < x.cols; c += kSweepColumns) {
    ProjectBlock({.x = x.data + begin * x.stride + c,
                  .x_stride = x.stride,
                  .a = AsItLies(a, c),
                  .columns = Min(kSweepColumns, x.cols - c),
                  .h = h.data + begin * h.stride,
                  .h_stride = h.stride,
                  .scale = 1.0f,
                  .accumulate = c > 0},
                 end - begin, a.rows);
  }
}

void LoraAddRange(const ConstMatrix& h, const ConstMatrix& b, float scale, const Matrix& y,
                  int64_t begin, int64_t end) {
  alignas(64) float packed[kPackedFloats];
  for (int64_t c = begin; c < end; c += kSweepColumns) {
    const int64_t count = Min(kSweepColumns, end - c);
    for (int64_t r = 0; r < h.cols; r += kLoraRanks) {
      const int64_t ranks = Min(kLoraRanks, h.cols - r);
      AddTile tile{.h = h.data + r,
                   .h_stride = h.stride,
                   .a = PackColumns(b, c, count, r, ranks, packed),
                   .scale = scale,
                   .y = y.data + c,
                   .y_stride = y.stride};
      for (int64_t t = 0; t < y.rows; t += kSweepRows) {
        AddBlock(tile, Min(kSweepRows, y.rows - t), count, ranks);
        tile.h += kSweepRows * h.stride;
        tile.y += kSweepRows * y.stride;
      }
    }
  }
}

void GatherBlock(const LoraGatherArgs& args, int64_t begin, int64_t count, bool accumulate) {
  alignas(64) float packed[kPackedFloats];
  alignas(64) float sums[kPackedFloats];
  const int64_t ranks = args.b.cols;
  const bool wants_b = args.d_b.data != nullptr;
  const Thin<float> d_b{sums, kTileCols, kTileCols * ranks};
  if (wants_b) {
    for (int64_t i = 0; i < (count + kTileCols - 1) / kTileCols * kTileCols * ranks; ++i) {
      sums[i] = 0.0f;
    }
  }
  // Ranks that are used together lie together, else panels would share cache sets.
  const int64_t width = (count + kTileCols - 1) / kTileCols * kTileCols;
  if (args.part.data != nullptr) {
    for (int64_t r = 0; r < ranks; r += kRanksAtOnce) {
      PackColumns(args.b, begin, count, r, Min(kRanksAtOnce, ranks - r), packed + r * width);
    }
  }
  for (int64_t t = 0; t < args.d_y.rows; t += kSweepRows) {
    const int64_t rows = Min(kSweepRows, args.d_y.rows - t);
    const float* d_y = args.d_y.data + t * args.d_y.stride + begin;
    for (int64_t r = 0; args.part.data != nullptr && r < ranks; r += kRanksAtOnce) {
      const int64_t some = Min(kRanksAtOnce, ranks - r);
      ProjectBlock({.x = d_y,
                    .x_stride = args.d_y.stride,
                    .a = {packed + r * width, kTileCols, kTileCols * some},
                    .columns = count,
                    .h = args.part.data + t * args.part.stride + r,
                    .h_stride = args.part.stride,
                    .scale = args.scale,
                    .accumulate = accumulate},
                   rows, some);
    }
    if (wants_b) {
      CollectBlock({.x = d_y,
                    .x_stride = args.d_y.stride,
                    .h = args.h.data + t * args.h.stride,
                    .h_stride = args.h.stride,
                    .rows = rows},
                   count, ranks, d_b);
    }
  }
  if (wants_b) AddTransposed(d_b, begin, count, ranks, args.scale, args.d_b);
}

void LoraGatherRange(const LoraGatherArgs& args, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c += kSweepColumns) {
    GatherBlock(args, c, Min(kSweepColumns, end - c), /*accumulate=*/c > begin);
  }
}

void LoraScatterRange(const LoraScatterArgs& args, int64_t begin, int64_t end) {
  const int64_t rows = args.d_h.rows;
  for (int64_t c = begin; c < end; c += kSweepColumns) {
    const int64_t count = Min(kSweepColumns, end - c);
    for (int64_t t = 0; t < rows; t += kSweepRows) {
      const int64_t some = Min(kSweepRows, rows - t);
      const float* d_h = args.d_h.data + t * args.d_h.stride;
      if (args.d_a.data != nullptr) {
        CollectBlock({.x = args.x.data + t * args.x.stride + c,
                      .x_stride = args.x.stride,
                      .h = d_h,
                      .h_stride = args.d_h.stride,
                      .rows = some},
                     count, args.d_h.cols, {args.d_a.data + c, args.d_a.stride, kTileCols});
      }
      if (args.d_x.data == nullptr) continue;
      for (int64_t r = 0; r < args.d_h.cols; r += kLoraRanks) {
        AddBlock({.h = d_h + r,
                  .h_stride = args.d_h.stride,
                  .a = AsItLies(args.a, c).At(r, 0),
                  .scale = 1.0f,
                  .y = args.d_x.data + t * args.d_x.stride + c,
                  .y_stride = args.d_x.stride},
                 some, count, Min(kLoraRanks, args.d_h.cols - r));
      }
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_LOW_RANK_TRAIN_INL_H_
