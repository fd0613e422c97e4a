// Causal attention by tiles of queries and keys; a tile of scores lies on the stack.  Source: arXiv
// 2205.14135.
#ifndef LORIKEET_KERNELS_SIMD_ATTENTION_INL_H_
#define LORIKEET_KERNELS_SIMD_ATTENTION_INL_H_

#include "kernels/simd/gemm_inl.h"
#include "kernels/simd/rows_inl.h"

namespace lorikeet {
namespace {

constexpr int64_t kBlock = 64;  // queries, and keys, of a tile

inline int64_t FirstKey(const AttentionShape& shape, int64_t t) {
  return shape.first_key != nullptr ? shape.first_key[t] : 0;
}

// One head's part of a [rows, heads * head_size] matrix.
struct HeadRows {
  const float* data;
  int64_t stride;
  const float* row(int64_t r) const { return data + r * stride; }
};
inline HeadRows HeadOf(const ConstMatrix& m, int head, int head_size) {
  return {m.data + head * head_size, m.stride};
}

// The keys of a tile that one query sees: [begin, end) within the tile.
struct Seen {
  int64_t begin;
  int64_t end;
};
inline Seen SeenOf(const AttentionShape& shape, int64_t t, int64_t key, int64_t keys) {
  const int64_t begin = Max(0, FirstKey(shape, t) - key);
  return {begin, Min(keys, shape.query_offset + t + 1 - key)};
}

// scores [queries, kBlock] = alpha * rows of a times rows of b.
void Scores(HeadRows a, int64_t queries, HeadRows b, int64_t keys, int64_t head_size, float alpha,
            float* scores) {
  if (queries < 4) {  // not worth packing keys
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t s = 0; s < keys; ++s) {
        scores[i * kBlock + s] = alpha * Dot(a.row(i), b.row(s), head_size);
      }
    }
    return;
  }
  Gemm({.a = a.data,
        .a_row = a.stride,
        .a_k = 1,
        .b = b.data,
        .b_k = 1,
        .b_col = b.stride,
        .c = scores,
        .c_row = kBlock,
        .m = queries,
        .n = keys,
        .k = head_size,
        .alpha = alpha,
        .accumulate = false});
}

// c [m, head_size] += tile (or its transpose) times rows of b.
void AddProduct(const float* tile, bool transposed, int64_t m, HeadRows b, int64_t k,
                int64_t head_size, float* c, int64_t c_row) {
  Gemm({.a = tile,
        .a_row = transposed ? 1 : kBlock,
        .a_k = transposed ? kBlock : 1,
        .b = b.data,
        .b_k = b.stride,
        .b_col = 1,
        .c = c,
        .c_row = c_row,
        .m = m,
        .n = head_size,
        .k = k,
        .alpha = 1.0f,
        .accumulate = true});
}

inline void ZeroOutside(float* row, Seen seen, int64_t keys) {
  for (int64_t s = 0; s < Min(seen.begin, keys); ++s) row[s] = 0.0f;
  for (int64_t s = Max(0, seen.end); s < keys; ++s) row[s] = 0.0f;
}

// Running softmax of one query: turns scores into exp(score - largest) and rescales what came
// before.
struct RunningSoftmax {
  float largest;
  double total;

  void Take(float* scores, Seen seen, int64_t keys, float* out, int64_t head_size) {
    ZeroOutside(scores, seen, keys);
    const int64_t n = seen.end - seen.begin;
    if (n <= 0) return;
    float* first = scores + seen.begin;
    const float tile_largest = Largest(first, n);
    if (total == 0) {
      largest = tile_largest;
    } else if (tile_largest > largest) {
      const float shrink = Exp(Splat(largest - tile_largest))[0];
      for (int64_t i = 0; i < head_size; ++i) out[i] *= shrink;
      total *= static_cast<double>(shrink);
      largest = tile_largest;
    }
    ScaledExp(first, n, largest, 1.0f);
    Vf sum = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) sum += Load(first + i);
    if (i < n) sum += LoadPart(first + i, n - i);
    total += static_cast<double>(Sum(sum));
  }
};

void AttentionTile(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                   const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp,
                   int head, int64_t t, int64_t queries) {
  const int64_t d = shape.head_size;
  const int kv_head = head / (shape.heads / shape.kv_heads);
  const HeadRows q_rows{q.data + t * q.stride + head * d, q.stride};
  const HeadRows k_rows = HeadOf(k, kv_head, shape.head_size);
  const HeadRows v_rows = HeadOf(v, kv_head, shape.head_size);
  alignas(64) float scores[kBlock * kBlock];
  RunningSoftmax softmax[kBlock];
  float* out_rows = out.data + t * out.stride + head * d;
  for (int64_t i = 0; i < queries; ++i) {
    softmax[i] = {0.0f, 0.0};
    for (int64_t c = 0; c < d; ++c) out_rows[i * out.stride + c] = 0.0f;
  }
  const int64_t end = shape.query_offset + t + queries;
  for (int64_t key = FirstKey(shape, t) / kBlock * kBlock; key < end; key += kBlock) {
    const int64_t keys = Min(kBlock, end - key);
    Scores(q_rows, queries, {k_rows.row(key), k.stride}, keys, d, shape.scale, scores);
    for (int64_t i = 0; i < queries; ++i) {
      softmax[i].Take(scores + i * kBlock, SeenOf(shape, t + i, key, keys), keys,
                      out_rows + i * out.stride, d);
    }
    AddProduct(scores, /*transposed=*/false, queries, {v_rows.row(key), v.stride}, keys, d,
               out_rows, out.stride);
  }
  for (int64_t i = 0; i < queries; ++i) {
    const auto inverse = static_cast<float>(1.0 / softmax[i].total);
    for (int64_t c = 0; c < d; ++c) out_rows[i * out.stride + c] *= inverse;
    if (log_sum_exp.data == nullptr) continue;
    log_sum_exp.data[head * log_sum_exp.stride + t + i] = static_cast<float>(
        static_cast<double>(softmax[i].largest) + __builtin_log(softmax[i].total));
  }
}

void AttentionRange(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                    const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp,
                    int head, int64_t t_begin, int64_t t_end) {
  for (int64_t t = t_begin; t < t_end; t += kBlock) {
    AttentionTile(q, k, v, shape, out, log_sum_exp, head, t, Min(kBlock, t_end - t));
  }
}

inline void ZeroRows(const Matrix& m, int64_t column, int64_t width, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < width; ++c) m.data[r * m.stride + column + c] = 0.0f;
  }
}

// One tile of queries of `head` against one tile of keys: probabilities again, then all three
// gradients.
void AttentionBackwardTile(const AttentionBackwardArgs& a, const AttentionShape& shape, int head,
                           int64_t t, int64_t queries, int64_t key, int64_t keys) {
  const int64_t d = shape.head_size;
  const int64_t kv_column = head / (shape.heads / shape.kv_heads) * d;
  const HeadRows q{a.q.data + t * a.q.stride + head * d, a.q.stride};
  const HeadRows d_out{a.d_out.data + t * a.d_out.stride + head * d, a.d_out.stride};
  const HeadRows k{a.k.data + key * a.k.stride + kv_column, a.k.stride};
  const HeadRows v{a.v.data + key * a.v.stride + kv_column, a.v.stride};
  alignas(64) float p[kBlock * kBlock];
  alignas(64) float d_scores[kBlock * kBlock];
  Scores(q, queries, k, keys, d, shape.scale, p);
  Scores(d_out, queries, v, keys, d, 1.0f, d_scores);
  for (int64_t i = 0; i < queries; ++i) {
    const Seen seen = SeenOf(shape, t + i, key, keys);
    float* p_row = p + i * kBlock;
    float* d_row = d_scores + i * kBlock;
    ZeroOutside(p_row, seen, keys);
    ZeroOutside(d_row, seen, keys);
    if (seen.end <= seen.begin) continue;
    ScaledExp(p_row + seen.begin, seen.end - seen.begin,
              a.log_sum_exp.data[head * a.log_sum_exp.stride + t + i], 1.0f);
    const float delta = a.delta.data[head * a.delta.stride + t + i];
    for (int64_t s = seen.begin; s < seen.end; ++s)
      d_row[s] = p_row[s] * (d_row[s] - delta) * shape.scale;
  }
  AddProduct(p, /*transposed=*/true, keys, d_out, queries, d,
             a.d_v.data + key * a.d_v.stride + kv_column, a.d_v.stride);
  AddProduct(d_scores, /*transposed=*/true, keys, q, queries, d,
             a.d_k.data + key * a.d_k.stride + kv_column, a.d_k.stride);
  AddProduct(d_scores, /*transposed=*/false, queries, k, keys, d,
             a.d_q.data + t * a.d_q.stride + head * d, a.d_q.stride);
}

void AttentionBackwardHead(const AttentionBackwardArgs& a, const AttentionShape& shape,
                           int kv_head) {
  const int64_t d = shape.head_size;
  const int group = shape.heads / shape.kv_heads;
  const int64_t key_count = shape.query_offset + a.q.rows;
  ZeroRows(a.d_k, kv_head * d, d, key_count);
  ZeroRows(a.d_v, kv_head * d, d, key_count);
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    ZeroRows(a.d_q, head * d, d, a.q.rows);
    for (int64_t t = 0; t < a.q.rows; ++t) {
      a.delta.data[head * a.delta.stride + t] = Dot(a.d_out.data + t * a.d_out.stride + head * d,
                                                    a.out.data + t * a.out.stride + head * d, d);
    }
    for (int64_t t = 0; t < a.q.rows; t += kBlock) {
      const int64_t queries = Min(kBlock, a.q.rows - t);
      const int64_t end = shape.query_offset + t + queries;
      for (int64_t key = FirstKey(shape, t) / kBlock * kBlock; key < end; key += kBlock) {
        AttentionBackwardTile(a, shape, head, t, queries, key, Min(kBlock, end - key));
      }
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_ATTENTION_INL_H_
