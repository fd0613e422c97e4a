// The functions that only training uses; compiled in files of their own, once per instruction set.
// See KernelTable for what they do.
#ifndef LORIKEET_KERNELS_SIMD_TRAIN_KERNELS_H_
#define LORIKEET_KERNELS_SIMD_TRAIN_KERNELS_H_

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/kernel_table.h"
#include "kernels/views.h"

#define LORIKEET_DECLARE_TRAIN_KERNELS                                                          \
  void AttendQueries(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,          \
                     const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp, \
                     int kv_head, int64_t t_begin, int64_t t_end);                              \
  void StartAttentionBackward(const AttentionBackwardArgs& args, const AttentionShape& shape,   \
                              int kv_head);                                                     \
  void AttentionBackwardTile(const AttentionBackwardArgs& args, const AttentionShape& shape,    \
                             int kv_head, int64_t t, int64_t key);                              \
  void LoraProject(const ConstMatrix& x, const ConstMatrix& a, const Matrix& h, int64_t begin,  \
                   int64_t end);                                                                \
  void LoraAdd(const ConstMatrix& h, const ConstMatrix& b, float scale, const Matrix& y,        \
               int64_t begin, int64_t end);                                                     \
  void LoraGather(const LoraGatherArgs& args, int64_t begin, int64_t end);                      \
  void LoraScatter(const LoraScatterArgs& args, int64_t begin, int64_t end);

namespace lorikeet {
namespace avx2 {
LORIKEET_DECLARE_TRAIN_KERNELS
}
namespace avx512 {
LORIKEET_DECLARE_TRAIN_KERNELS
}
}  // namespace lorikeet

#undef LORIKEET_DECLARE_TRAIN_KERNELS

#endif  // LORIKEET_KERNELS_SIMD_TRAIN_KERNELS_H_
