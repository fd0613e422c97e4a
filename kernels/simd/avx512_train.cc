// What only training does, for one instruction set.  Flags: kernels/CMakeLists.txt.
#define LORIKEET_SIMD_512
#include "kernels/simd/attention_backward_inl.h"
#include "kernels/simd/attention_inl.h"
#include "kernels/simd/low_rank_train_inl.h"
#include "kernels/simd/train_kernels.h"

namespace lorikeet::avx512 {

void AttendQueries(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                   const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp,
                   int kv_head, int64_t t_begin, int64_t t_end) {
  AttentionRange(q, k, v, shape, out, log_sum_exp, kv_head, t_begin, t_end);
}

void StartAttentionBackward(const AttentionBackwardArgs& args, const AttentionShape& shape,
                            int kv_head) {
  AttentionBackwardStart(args, shape, kv_head);
}

void AttentionBackwardTile(const AttentionBackwardArgs& args, const AttentionShape& shape,
                           int kv_head, int64_t t, int64_t key) {
  AttentionBackwardBlock(args, shape, kv_head, t, key);
}

void LoraProject(const ConstMatrix& x, const ConstMatrix& a, const Matrix& h, int64_t begin,
                 int64_t end) {
  LoraProjectRange(x, a, h, begin, end);
}

void LoraAdd(const ConstMatrix& h, const ConstMatrix& b, float scale, const Matrix& y,
             int64_t begin, int64_t end) {
  LoraAddRange(h, b, scale, y, begin, end);
}

void LoraGather(const LoraGatherArgs& args, int64_t begin, int64_t end) {
  LoraGatherRange(args, begin, end);
}

void LoraScatter(const LoraScatterArgs& args, int64_t begin, int64_t end) {
  LoraScatterRange(args, begin, end);
}

}  // namespace lorikeet::avx512
