// The functions of fast_matmul.h that are compiled in files of their own, once per instruction set.
// See KernelTable for what they do.
#ifndef LORIKEET_KERNELS_SIMD_FAST_KERNELS_H_
#define LORIKEET_KERNELS_SIMD_FAST_KERNELS_H_

#include <cstdint>

#include "kernels/fast_matmul.h"
#include "kernels/views.h"

#define LORIKEET_DECLARE_FAST_KERNELS                                                              \
  void RoundRows(const RoundedActivations& rounded, int64_t begin, int64_t end);                   \
  void MatMulFew(const RoundedActivations& x, const WeightView& w, const Matrix& y, int64_t begin, \
                 int64_t end, bool accumulate);                                                    \
  void MatMulBatch(const RoundedActivations& x, const WeightView& w, const Matrix& y,              \
                   int64_t begin, int64_t end, bool accumulate);                                   \
  void MatMulBatchBackward(const RoundedActivations& d_y, const WeightView& w, const Matrix& d_x,  \
                           int64_t begin, int64_t end, bool accumulate);                           \
  void AddLowRank(const ConstMatrix& h, const MatrixView<const uint16_t>& b, const Matrix& y,      \
                  int64_t begin, int64_t end);

namespace lorikeet {
namespace avx2 {
LORIKEET_DECLARE_FAST_KERNELS
}
namespace avx512 {
LORIKEET_DECLARE_FAST_KERNELS
}
}  // namespace lorikeet

#undef LORIKEET_DECLARE_FAST_KERNELS

#endif  // LORIKEET_KERNELS_SIMD_FAST_KERNELS_H_
