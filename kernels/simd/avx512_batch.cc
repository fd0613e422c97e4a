// Products of many rows, forward and backward, and low-rank updates, for one instruction set.
// Flags: kernels/CMakeLists.txt.
#define LORIKEET_SIMD_512
#include "kernels/simd/batch_inl.h"
#include "kernels/simd/fast_kernels.h"
#include "kernels/simd/low_rank_inl.h"
#include "kernels/simd/transposed_inl.h"

namespace lorikeet::avx512 {

void MatMulBatch(const RoundedActivations& x, const WeightView& w, const Matrix& y, int64_t begin,
                 int64_t end, bool accumulate) {
  MatMulBatchRange(x, w, y, begin, end, accumulate);
}

void MatMulBatchBackward(const RoundedActivations& d_y, const WeightView& w, const Matrix& d_x,
                         int64_t begin, int64_t end, bool accumulate) {
  MatMulBatchBackwardRange(d_y, w, d_x, begin, end, accumulate);
}

void AddLowRank(const ConstMatrix& h, const MatrixView<const uint16_t>& b, const Matrix& y,
                int64_t begin, int64_t end) {
  AddLowRankRange(h, b, y, begin, end);
}

}  // namespace lorikeet::avx512
