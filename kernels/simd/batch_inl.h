// Products of many rows of rounded activations: a panel of weights is unpacked once and used for
// all rows.
#ifndef LORIKEET_KERNELS_SIMD_BATCH_INL_H_
#define LORIKEET_KERNELS_SIMD_BATCH_INL_H_

#include "kernels/simd/matmul_inl.h"

namespace lorikeet {
namespace {

void MatMulBatchRange(const RoundedActivations& x, const WeightView& w, const Matrix& y,
                      int64_t begin, int64_t end, bool accumulate) {
  MatMulRange(x.x, w, y, begin, end, accumulate);
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_BATCH_INL_H_
