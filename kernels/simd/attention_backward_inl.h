// Gradients of causal attention by tiles: probabilities again from the kept log-sum-exp, then all
// three gradients.  Source: arXiv 2307.08691.
#ifndef LORIKEET_KERNELS_SIMD_ATTENTION_BACKWARD_INL_H_
#define LORIKEET_KERNELS_SIMD_ATTENTION_BACKWARD_INL_H_

#include "kernels/simd/attention_inl.h"

namespace lorikeet {
namespace {

inline void ZeroRows(const Matrix& m, int64_t column, int64_t width, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < width; ++c) m.data[r * m.stride + column + c] = 0.0f;
  }
}

void AttentionBackwardStart(const AttentionBackwardArgs& a, const AttentionShape& shape,
                            int kv_head) {
  const int64_t d = shape.head_size;
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t key_count = shape.query_offset + a.q.rows;
  ZeroRows(a.d_k, kv_head * d, d, key_count);
  ZeroRows(a.d_v, kv_head * d, d, key_count);
  ZeroRows(a.d_q, kv_head * group * d, group * d, a.q.rows);
  for (int64_t t = 0; t < a.q.rows; ++t) {
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      a.delta.data[head * a.delta.stride + t] = Dot(a.d_out.data + t * a.d_out.stride + head * d,
                                                    a.out.data + t * a.out.stride + head * d, d);
    }
  }
}

// Tiles of one key/value head; what does not depend on the query head is made once.
struct BackwardTiles {
  alignas(64) float keys_packed[kBlock * kMaxHeadSize];
  alignas(64) float values_packed[kBlock * kMaxHeadSize];
  alignas(64) float keys[kTileFloats];
  alignas(64) float d_keys[kTileFloats];
  alignas(64) float d_values[kTileFloats];
  alignas(64) float queries[kTileFloats];
  alignas(64) float d_out[kTileFloats];
  alignas(64) float p[kBlock * kBlock];
  alignas(64) float d_scores[kBlock * kBlock];
};

// One query's probabilities from scores, and its gradients of the scores from those of the
// probabilities; both 0 in all columns that are not seen.
void BackwardRow(float* p, float* d_scores, Seen seen, float log_sum_exp, float delta,
                 float scale) {
  const Seen columns{seen.begin / kLanes * kLanes, RoundUp(seen.end, kLanes)};
  for (int64_t c = 0; c < kBlock; c += kLanes) {
    if (seen.begin >= seen.end || c < columns.begin || c >= columns.end) {
      Store(p + c, Vf{});
      Store(d_scores + c, Vf{});
      continue;
    }
    const bool whole = c >= seen.begin && c + kLanes <= seen.end;
    const Vf x = Load(p + c) - log_sum_exp;
    const Vf probability = Exp(whole ? x : Within(x, c, seen, -__builtin_inff()));
    const Vf d = probability * (Load(d_scores + c) - delta) * scale;
    Store(p + c, probability);
    // Not 0 times what lies in columns that nobody computed.
    Store(d_scores + c, whole ? d : Within(d, c, seen, 0.0f));
  }
}

// Calls body(row, rows, seen) for bands of keys; `seen` holds the queries that see any of the band.
template <typename Body>
void ForKeyBands(const AttentionShape& shape, const PairTile& tile, const Body& body) {
  const int64_t band = SeesAll(shape, tile) ? tile.keys : kTileRows;
  Seen queries{0, 0};
  for (int64_t row = 0; row < tile.keys; row += band) {
    const int64_t rows = Min(band, tile.keys - row);
    queries.begin = Max(0, tile.key + row - shape.query_offset - tile.t);
    while (queries.end < tile.queries &&
           FirstKey(shape, tile.t + queries.end) < tile.key + row + rows) {
      ++queries.end;
    }
    if (queries.begin < queries.end) body(row, rows, queries);
  }
}

// d [keys, TileStride] += transpose of the tile of (gradients of) scores times rows of the tile b.
void AddToKeys(const AttentionShape& shape, const PairTile& tile, const float* scores,
               const float* b, float* d) {
  const int64_t stride = TileStride(shape.head_size);
  ForKeyBands(shape, tile, [&](int64_t row, int64_t rows, Seen queries) {
    RunPanels({.a = scores + queries.begin * kBlock + row,
               .a_stride = kBlock,
               .b = b + queries.begin * stride,
               .b_stride = stride,
               .depth = queries.end - queries.begin,
               .c = d + row * stride,
               .c_row = stride,
               .alpha = 1.0f,
               .accumulate = true},
              /*unit_k=*/false, rows, RoundUp(shape.head_size, kLanes), kTileCols);
  });
}

void BackwardTile(const AttentionBackwardArgs& a, const AttentionShape& shape, const PairTile& tile,
                  int64_t head, BackwardTiles& tiles) {
  const int64_t d = shape.head_size;
  const int64_t stride = TileStride(d);
  CopyTile(HeadOf(a.q, head, d, tile.t), tile.queries, d, tiles.queries);
  CopyTile(HeadOf(a.d_out, head, d, tile.t), tile.queries, d, tiles.d_out);
  ForQueryBands(shape, tile, [&](int64_t row, int64_t rows, Seen seen) {
    Scores(tiles.queries + row * stride, rows, tiles.keys_packed, d, seen, shape.scale,
           tiles.p + row * kBlock);
    Scores(tiles.d_out + row * stride, rows, tiles.values_packed, d, seen, 1.0f,
           tiles.d_scores + row * kBlock);
  });
  for (int64_t row = 0; row < tile.queries; ++row) {
    BackwardRow(tiles.p + row * kBlock, tiles.d_scores + row * kBlock, SeenOf(shape, tile, row),
                a.log_sum_exp.data[head * a.log_sum_exp.stride + tile.t + row],
                a.delta.data[head * a.delta.stride + tile.t + row], shape.scale);
  }
  AddToKeys(shape, tile, tiles.p, tiles.d_out, tiles.d_values);
  AddToKeys(shape, tile, tiles.d_scores, tiles.queries, tiles.d_keys);
  float* d_q = a.d_q.data + tile.t * a.d_q.stride + head * d;
  ForQueryBands(shape, tile, [&](int64_t row, int64_t rows, Seen seen) {
    AddValues(tiles.d_scores + row * kBlock, rows, seen, tiles.keys, d, d_q + row * a.d_q.stride,
              a.d_q.stride);
  });
}

void AddRows(const float* from, int64_t rows, int64_t head_size, float* to, int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < head_size; ++c) {
      to[r * to_stride + c] += from[r * TileStride(head_size) + c];
    }
  }
}

void AttentionBackwardBlock(const AttentionBackwardArgs& a, const AttentionShape& shape,
                            int kv_head, int64_t t, int64_t key) {
  const int64_t d = shape.head_size;
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t queries = Min(kBlock, a.q.rows - t);
  const PairTile tile{.t = t,
                      .queries = queries,
                      .key = key,
                      .keys = Min(kBlock, shape.query_offset + t + queries - key)};
  if (tile.keys <= 0 || FirstKey(shape, t) >= key + tile.keys) return;
  BackwardTiles tiles;
  const HeadRows keys = HeadOf(a.k, kv_head, d, key);
  PackTile(keys, tile.keys, d, tiles.keys_packed);
  PackTile(HeadOf(a.v, kv_head, d, key), tile.keys, d, tiles.values_packed);
  CopyTile(keys, tile.keys, d, tiles.keys);
  for (int64_t i = 0; i < tile.keys * TileStride(d); ++i) {
    tiles.d_keys[i] = 0.0f;
    tiles.d_values[i] = 0.0f;
  }
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    BackwardTile(a, shape, tile, head, tiles);
  }
  AddRows(tiles.d_keys, tile.keys, d, a.d_k.data + key * a.d_k.stride + kv_head * d, a.d_k.stride);
  AddRows(tiles.d_values, tile.keys, d, a.d_v.data + key * a.d_v.stride + kv_head * d,
          a.d_v.stride);
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_ATTENTION_BACKWARD_INL_H_
