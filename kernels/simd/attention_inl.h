// Causal attention by tiles of queries and keys, for training; a tile of scores lies on the stack.
// Source: arXiv 2205.14135.
//
// A tile of keys is packed once for all query heads that share it.  Tiles are copied before use,
// since their rows lie a power of two apart in wide models: a few lines of the nearest cache.
#ifndef LORIKEET_KERNELS_SIMD_ATTENTION_INL_H_
#define LORIKEET_KERNELS_SIMD_ATTENTION_INL_H_

#include "kernels/simd/gemm_inl.h"

namespace lorikeet {
namespace {

constexpr int64_t kBlock = kAttentionBlock;  // queries, and keys, of a tile
// Heads whose running sums are kept while a tile of keys is packed.
constexpr int64_t kHeadsTogether = 8;

constexpr int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Of a copied tile: whole panels, and some more so that rows fall into different cache sets.
constexpr int64_t TileStride(int64_t head_size) { return RoundUp(head_size, kTileCols) + 16; }
constexpr int64_t kTileFloats = kBlock * TileStride(kMaxHeadSize);

inline int64_t FirstKey(const AttentionShape& shape, int64_t t) {
  return shape.first_key != nullptr ? shape.first_key[t] : 0;
}

// One head's part of some rows of a [rows, heads * head_size] matrix.
struct HeadRows {
  const float* data;
  int64_t stride;
  const float* row(int64_t r) const { return data + r * stride; }
};
inline HeadRows HeadOf(const ConstMatrix& m, int64_t head, int64_t head_size, int64_t row) {
  return {m.data + row * m.stride + head * head_size, m.stride};
}

// The keys [begin, end) within a tile that one query, or one of several, sees.
struct Seen {
  int64_t begin;
  int64_t end;
};

// A tile of queries [t, t + queries) against one of keys [key, key + keys).
struct PairTile {
  int64_t t, queries;
  int64_t key, keys;
};

// For query t + row.  May be empty: begin >= end.
inline Seen SeenOf(const AttentionShape& shape, const PairTile& tile, int64_t row) {
  return {Max(0, FirstKey(shape, tile.t + row) - tile.key),
          Min(tile.keys, shape.query_offset + tile.t + row + 1 - tile.key)};
}

// Later queries see later keys, so that the first row and the last one decide.
inline bool SeesAll(const AttentionShape& shape, const PairTile& tile) {
  return SeenOf(shape, tile, 0).end == tile.keys &&
         SeenOf(shape, tile, tile.queries - 1).begin == 0;
}

// Calls body(row, rows, seen) for bands of queries; `seen` holds what any of the band sees and is
// not empty.
template <typename Body>
void ForQueryBands(const AttentionShape& shape, const PairTile& tile, const Body& body) {
  const int64_t band = SeesAll(shape, tile) ? tile.queries : kTileRows;
  for (int64_t row = 0; row < tile.queries; row += band) {
    const int64_t rows = Min(band, tile.queries - row);
    const Seen seen{SeenOf(shape, tile, row).begin, SeenOf(shape, tile, row + rows - 1).end};
    if (seen.begin < seen.end) body(row, rows, seen);
  }
}

// to [rows, TileStride], zeros behind head_size as far as vectors reach.
void CopyTile(HeadRows from, int64_t rows, int64_t head_size, float* to) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* src = from.row(r);
    float* dst = to + r * TileStride(head_size);
    int64_t c = 0;
    for (; c + kLanes <= head_size; c += kLanes) Store(dst + c, Load(src + c));
    if (c < head_size) Store(dst + c, LoadPart(src + c, head_size - c));
  }
}

// panels [kBlock / kTileCols][head_size][kTileCols]: the rows as columns.
void PackTile(HeadRows from, int64_t rows, int64_t head_size, float* panels) {
  for (int64_t r = 0; r < rows; r += kTileCols) {
    PackTransposed(from.row(r), from.stride, Min(kTileCols, rows - r), head_size,
                   panels + r * head_size);
  }
}

// c [rows, cols] over panels of b that lie `panel` floats apart.
void RunPanels(Tile tile, bool unit_k, int64_t rows, int64_t cols, int64_t panel) {
  for (int64_t j = 0; j < cols; j += kTileCols) {
    RunPanel(tile, unit_k, rows, Min(kTileCols, cols - j));
    tile.b += panel;
    tile.c += kTileCols;
  }
}

// What columns of scores Scores computes, those before and behind `seen` included.
inline Seen ColumnsFor(Seen seen) {
  return {seen.begin / kTileCols * kTileCols, RoundUp(seen.end, kLanes)};
}

// scores [rows, kBlock] = alpha * rows of the tile a times packed keys, columns ColumnsFor(seen).
void Scores(const float* a, int64_t rows, const float* panels, int64_t head_size, Seen seen,
            float alpha, float* scores) {
  const Seen columns = ColumnsFor(seen);
  RunPanels({.a = a,
             .a_stride = TileStride(head_size),
             .b = panels + columns.begin * head_size,
             .b_stride = kTileCols,
             .depth = head_size,
             .c = scores + columns.begin,
             .c_row = kBlock,
             .alpha = alpha,
             .accumulate = false},
            /*unit_k=*/true, rows, columns.end - columns.begin, kTileCols * head_size);
}

// c [rows, head_size] += columns `seen` of scores times these rows of the tile b.
void AddValues(const float* scores, int64_t rows, Seen seen, const float* b, int64_t head_size,
               float* c, int64_t c_row) {
  RunPanels({.a = scores + seen.begin,
             .a_stride = kBlock,
             .b = b + seen.begin * TileStride(head_size),
             .b_stride = TileStride(head_size),
             .depth = seen.end - seen.begin,
             .c = c,
             .c_row = c_row,
             .alpha = 1.0f,
             .accumulate = true},
            /*unit_k=*/true, rows, head_size, kTileCols);
}

// Lanes [begin, end) of x, which is at column `at`; `other` elsewhere.
inline Vf Within(Vf x, int64_t at, Seen seen, float other) {
  Vi column;
  for (int i = 0; i < kLanes; ++i) column[i] = static_cast<int32_t>(at) + i;
  const Vi begin = static_cast<int32_t>(seen.begin) - Vi{};
  const Vi end = static_cast<int32_t>(seen.end) - Vi{};
  return ((column >= begin) & (column < end)) ? x : Splat(other);
}

inline float LargestLane(Vf v) {
#ifdef LORIKEET_SIMD_512
  return _mm512_reduce_max_ps(v);
#else
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
#endif
}

// Running softmax of one query: turns scores into exp(score - largest) and rescales what came
// before.
struct RunningSoftmax {
  float largest;
  double total;

  // Columns of scores that are computed but not seen become 0.
  void Take(float* scores, Seen columns, Seen seen, float* out, int64_t head_size) {
    const bool whole = seen.begin <= columns.begin && seen.end >= columns.end;
    Vf most = Splat(-__builtin_inff());
    for (int64_t c = columns.begin; c < columns.end; c += kLanes) {
      Vf x = Load(scores + c);
      if (!whole) {
        x = Within(x, c, seen, -__builtin_inff());
        Store(scores + c, x);
      }
      most = VecMax(most, x);
    }
    if (seen.begin < seen.end) Raise(LargestLane(most), out, head_size);
    Vf sum = {};
    for (int64_t c = columns.begin; c < columns.end; c += kLanes) {
      const Vf p = Exp(Load(scores + c) - largest);
      Store(scores + c, p);
      sum += p;
    }
    total += static_cast<double>(Sum(sum));
  }

 private:
  void Raise(float score, float* out, int64_t head_size) {
    if (total == 0) {
      largest = score;
    } else if (score > largest) {
      const float shrink = Exp(Splat(largest - score))[0];
      for (int64_t i = 0; i < head_size; ++i) out[i] *= shrink;
      total *= static_cast<double>(shrink);
      largest = score;
    }
  }
};

struct AttentionArgs {
  const ConstMatrix& q;
  const ConstMatrix& k;
  const ConstMatrix& v;
  const AttentionShape& shape;
  const Matrix& out;
  const Matrix& log_sum_exp;
};

// What a tile of keys adds to the output of one head.
void AttendTile(const AttentionArgs& a, const PairTile& tile, int64_t head, const float* keys,
                const float* values, RunningSoftmax* softmax) {
  const int64_t d = a.shape.head_size;
  alignas(64) float queries[kTileFloats];
  alignas(64) float scores[kBlock * kBlock];
  CopyTile(HeadOf(a.q, head, d, tile.t), tile.queries, d, queries);
  float* out = a.out.data + tile.t * a.out.stride + head * d;
  ForQueryBands(a.shape, tile, [&](int64_t row, int64_t rows, Seen seen) {
    float* band = scores + row * kBlock;
    Scores(queries + row * TileStride(d), rows, keys, d, seen, a.shape.scale, band);
    for (int64_t i = 0; i < rows; ++i) {
      softmax[row + i].Take(band + i * kBlock, ColumnsFor(seen), SeenOf(a.shape, tile, row + i),
                            out + (row + i) * a.out.stride, d);
    }
    AddValues(band, rows, seen, values, d, out + row * a.out.stride, a.out.stride);
  });
}

void FinishRow(const AttentionArgs& a, int64_t head, int64_t t, const RunningSoftmax& softmax) {
  float* out = a.out.data + t * a.out.stride + head * a.shape.head_size;
  const auto inverse = static_cast<float>(1.0 / softmax.total);
  for (int64_t c = 0; c < a.shape.head_size; ++c) out[c] *= inverse;
  if (a.log_sum_exp.data == nullptr) return;
  a.log_sum_exp.data[head * a.log_sum_exp.stride + t] =
      static_cast<float>(static_cast<double>(softmax.largest) + __builtin_log(softmax.total));
}

// Query heads [head, head + heads), at most kHeadsTogether, of one key/value head.
void AttendBlock(const AttentionArgs& a, int64_t head, int64_t heads, int64_t t, int64_t queries) {
  const int64_t d = a.shape.head_size;
  const int64_t kv_head = head / (a.shape.heads / a.shape.kv_heads);
  alignas(64) float keys[kBlock * kMaxHeadSize];
  alignas(64) float values[kTileFloats];
  RunningSoftmax softmax[kHeadsTogether][kBlock];
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < queries; ++i) {
      softmax[h][i] = {0.0f, 0.0};
      float* out = a.out.data + (t + i) * a.out.stride + (head + h) * d;
      for (int64_t c = 0; c < d; ++c) out[c] = 0.0f;
    }
  }
  const int64_t end = a.shape.query_offset + t + queries;
  for (int64_t key = FirstKey(a.shape, t) / kBlock * kBlock; key < end; key += kBlock) {
    const PairTile tile{.t = t, .queries = queries, .key = key, .keys = Min(kBlock, end - key)};
    PackTile(HeadOf(a.k, kv_head, d, key), tile.keys, d, keys);
    CopyTile(HeadOf(a.v, kv_head, d, key), tile.keys, d, values);
    for (int64_t h = 0; h < heads; ++h) AttendTile(a, tile, head + h, keys, values, softmax[h]);
  }
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < queries; ++i) FinishRow(a, head + h, t + i, softmax[h][i]);
  }
}

void AttentionRange(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                    const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp,
                    int kv_head, int64_t t_begin, int64_t t_end) {
  const AttentionArgs args{q, k, v, shape, out, log_sum_exp};
  const int64_t group = shape.heads / shape.kv_heads;
  for (int64_t t = t_begin; t < t_end; t += kBlock) {
    for (int64_t h = 0; h < group; h += kHeadsTogether) {
      AttendBlock(args, kv_head * group + h, Min(kHeadsTogether, group - h), t,
                  Min(kBlock, t_end - t));
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_ATTENTION_INL_H_
