// What only training does, for one instruction set.  Flags: kernels/CMakeLists.txt.
#include "kernels/simd/attention_backward_inl.h"
#include "kernels/simd/attention_inl.h"
#include "kernels/simd/train_kernels.h"

namespace lorikeet::avx2 {

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

}  // namespace lorikeet::avx2
