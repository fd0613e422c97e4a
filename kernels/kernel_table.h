// The functions an instruction set provides.  Internal to kernels/: callers use matmul.h,
// attention.h and so on.
//
// Every function works on the calling thread, on a range of its output, and touches only that
// range, so that dispatch.cc can split the work.  SIMD files include nothing with inline functions
// but this (and the views, of which they read fields only): code compiled for a newer processor
// must not leak into the rest of the program.
#ifndef LORIKEET_KERNELS_KERNEL_TABLE_H_
#define LORIKEET_KERNELS_KERNEL_TABLE_H_

#include <cstdint>

#include "common/base/tensor_type.h"
#include "kernels/attention.h"
#include "kernels/cached_attention.h"
#include "kernels/fast_matmul.h"
#include "kernels/views.h"

namespace lorikeet {

// c [m, n] = alpha * sum_k a(m, k) b(k, n) (+ c).  Element (i, k) of a lies at a[i * a_row + k *
// a_k], one of the two strides being 1; element (k, j) of b at b[k * b_k + j * b_col], likewise.
struct GemmArgs {
  const float* a = nullptr;
  int64_t a_row = 0, a_k = 0;
  const float* b = nullptr;
  int64_t b_k = 0, b_col = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  int64_t m = 0, n = 0, k = 0;
  float alpha = 1.0f;
  bool accumulate = false;
};

// Rows of weights or columns a range of mat_mul, mat_mul_backward_input or gemm should be a
// multiple of.
inline constexpr int64_t kPanelColumns = 32;
// Columns that mat_mul_batch_backward works on at once: a multiple of every block's length.
inline constexpr int64_t kBackwardColumns = 256;

// Queries, and keys, of a tile of attention in training.
inline constexpr int64_t kAttentionBlock = 64;

// Cached attention of one kv head: query rows [row_begin, row_end) over the keys [key_begin,
// key_end), at most kChunkKeys of them.  Query row r is query head kv_head * group + r % group of
// row r / group of q, group = heads / kv_heads; of the keys it sees those below query_offset + r /
// group + 1, and at least one.  The partial result of row r lies at partials + (r - row_begin) *
// PartialStride(head_size): the largest score (in a unit of the instruction set's own), sum
// exp(score - largest), and from kPartialHeader on sum exp(score - largest) v.  Partials are
// 64-byte aligned.
struct AttentionChunk {
  ConstMatrix q;
  CacheView k, v;
  AttentionShape shape;
  int kv_head = 0;
  int64_t row_begin = 0, row_end = 0;
  int64_t key_begin = 0, key_end = 0;
  float* partials = nullptr;
  // Null, or the keys that the caller will want next: a hint.
  const uint8_t* next_keys = nullptr;
};
inline constexpr int64_t kChunkKeys = 256;
inline constexpr int64_t kPartialHeader = 16;
constexpr int64_t PartialStride(int64_t head_size) {
  return kPartialHeader + (head_size + 15) / 16 * 16;
}
// No more rows than this in a chunk, nor more than kChunkNumbers / head_size (but at least one).
inline constexpr int64_t kChunkRows = 96;
inline constexpr int64_t kChunkNumbers = 96 * 64;

// --- lora.h; letters as there ---
// Of columns of d_y: part [T, R] = scale d_y b; d_b += scale d_y^T h; either of them only if not
// empty.  At most kLoraRanks ranks.
struct LoraGatherArgs {
  ConstMatrix d_y, b, h;
  float scale = 1.0f;
  Matrix part;
  Matrix d_b;
};
inline constexpr int64_t kLoraRanks = 64;

// Of columns of x, a, d_a and d_x: d_a += d_h^T x; d_x += d_h a; either of them only if not empty.
struct LoraScatterArgs {
  ConstMatrix x, d_h, a;
  Matrix d_a, d_x;
};

struct KernelTable {
  void (*dequantize_row)(TensorType type, const uint8_t* src, int64_t n, float* dst);

  // y[:, begin..end) = x W[begin..end)^T, or += with `accumulate`; so below.
  void (*mat_mul)(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                  int64_t end, bool accumulate);
  // d_x[:, begin..end) += d_y W[:, begin..end); begin and end on block borders.
  void (*mat_mul_backward_input)(const ConstMatrix& d_y, const WeightView& w, const Matrix& d_x,
                                 int64_t begin, int64_t end);
  void (*gemm)(const GemmArgs& args);

  // --- fast_matmul.h ---
  // Whether mat_mul_batch reads RoundedActivations::bf16 (and only that) and takes BF16 weights.
  bool wants_bf16;
  // Up to this many rows of x mat_mul_few is used, from then on mat_mul_batch.
  int64_t few_rows;
  // Fills the arrays of `rounded` that are not null, rows [begin, end).
  void (*round_activations)(const RoundedActivations& rounded, int64_t begin, int64_t end);
  // w is quantized (or, of a batch where wants_bf16, BF16); begin % kPanelColumns == 0.
  void (*mat_mul_few)(const RoundedActivations& x, const WeightView& w, const Matrix& y,
                      int64_t begin, int64_t end, bool accumulate);
  void (*mat_mul_batch)(const RoundedActivations& x, const WeightView& w, const Matrix& y,
                        int64_t begin, int64_t end, bool accumulate);
  // d_x[:, begin..end) = d_y W[:, begin..end), or +=; begin and end on block borders and multiples
  // of kPanelColumns.  w is quantized; d_y has q, for all its columns, or (where wants_bf16) bf16.
  void (*mat_mul_batch_backward)(const RoundedActivations& d_y, const WeightView& w,
                                 const Matrix& d_x, int64_t begin, int64_t end, bool accumulate);
  // y[:, begin..end) += h b[begin..end)^T.  h [T, R]; b [OC, R] IEEE halves.
  void (*add_low_rank)(const ConstMatrix& h, const MatrixView<const uint16_t>& b, const Matrix& y,
                       int64_t begin, int64_t end);

  void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t n, float* y);
  void (*rms_norm_backward)(const float* x, const float* weight, float epsilon, const float* d_y,
                            int64_t n, float* d_x);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* y);
  void (*swiglu_backward)(const float* gate, const float* up, const float* d_y, int64_t n,
                          float* d_gate, float* d_up);
  // Returns log sum exp(x).
  float (*log_sum_exp)(const float* x, int64_t n);
  // x[i] = factor * exp(x[i] - shift).
  void (*scaled_exp)(float* x, int64_t n, float shift, float factor);
  // Returns the largest of n >= 1 numbers.
  float (*largest)(const float* x, int64_t n);
  // x[i] = exp(x[i] - shift), NaN of NaN, and returns their sum; shift is the largest or more.
  double (*exponentials)(float* x, int64_t n, float shift);

  // --- attention.h: one key/value head and its query heads ---
  // Query rows [t_begin, t_end).
  void (*attention)(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                    const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp,
                    int kv_head, int64_t t_begin, int64_t t_end);
  // Sets delta, and the gradients to 0.
  void (*attention_backward_start)(const AttentionBackwardArgs& args, const AttentionShape& shape,
                                   int kv_head);
  // Adds what queries [t, t + kAttentionBlock) owe to keys [key, key + kAttentionBlock) to these
  // queries' and keys' rows of the gradients.
  void (*attention_backward)(const AttentionBackwardArgs& args, const AttentionShape& shape,
                             int kv_head, int64_t t, int64_t key);

  // --- lora.h ---
  // Rows [begin, end) of h = x a^T.
  void (*lora_project)(const ConstMatrix& x, const ConstMatrix& a, const Matrix& h, int64_t begin,
                       int64_t end);
  // y[:, begin..end) += scale h b[begin..end)^T.
  void (*lora_add)(const ConstMatrix& h, const ConstMatrix& b, float scale, const Matrix& y,
                   int64_t begin, int64_t end);
  // Columns [begin, end); those of the gather are the only ones of its `part`.
  void (*lora_gather)(const LoraGatherArgs& args, int64_t begin, int64_t end);
  void (*lora_scatter)(const LoraScatterArgs& args, int64_t begin, int64_t end);

  // --- cached_attention.h ---
  // One row of one kv head.
  void (*store_cache_row)(const float* src, int64_t n, TensorType type, uint8_t* dst);
  void (*attend_chunk)(const AttentionChunk& chunk);
  // Adds the partial result of a later chunk to `sums`, which is laid out like it.
  void (*fold_partial)(const float* partial, int64_t head_size, float* sums);
};

const KernelTable& ReferenceKernels();
#ifdef LORIKEET_KERNELS_X86
const KernelTable& Avx2Kernels();
const KernelTable& Avx512Kernels();
const KernelTable& AmxKernels();
#endif

// The table of CurrentIsa().
const KernelTable& Kernels();
// Until the next SetIsa: for tests that run an instruction set's code by other means.
void UseKernelsForTest(const KernelTable& table);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_KERNEL_TABLE_H_
