// Causal attention with grouped query heads, with its backward pass: for training, in f32
// throughout.  Not for inference: cached_attention.h.
//
// Never holds a T x T matrix: scores live in stack tiles; the forward pass keeps the log-sum-exp of
// each row and the backward pass recomputes probabilities from it.  Source: FlashAttention, arXiv
// 2205.14135, 2307.08691.
#ifndef LORIKEET_KERNELS_ATTENTION_H_
#define LORIKEET_KERNELS_ATTENTION_H_

#include <cstdint>

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

inline constexpr int kMaxHeadSize = 256;

// Query head h uses key/value head h / (heads / kv_heads).
struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_size = 0;   // <= kMaxHeadSize
  float scale = 0.0f;  // of the scores; usually 1 / sqrt(head_size)
  // Row t of the queries stands at position query_offset + t and sees keys [first, query_offset +
  // t], with first = 0 or first_key[t] when given (packed documents; not decreasing in t,
  // first_key[t] <= query_offset + t).
  int64_t query_offset = 0;
  const int32_t* first_key = nullptr;
};

// q, out [T, heads * head_size]; k, v [S, kv_heads * head_size], S >= query_offset + T.  Any
// strides, so that k and v may be a cache.  log_sum_exp [heads, T] (or empty: not kept) receives
// log sum exp of the scaled scores. REQUIRES: out aliases none.
void Attention(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionShape& shape, Matrix out,
               Matrix log_sum_exp, ThreadPool* pool);

// What the backward pass reads and writes.  Gradients are overwritten, rows of d_k, d_v [0,
// query_offset + T).
struct AttentionBackwardArgs {
  ConstMatrix q, k, v, out;
  ConstMatrix log_sum_exp;  // from the forward pass
  ConstMatrix d_out;
  Matrix d_q, d_k, d_v;
  Matrix delta;  // scratch [heads, T]
};
void AttentionBackward(const AttentionBackwardArgs& args, const AttentionShape& shape,
                       ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_ATTENTION_H_
