// Prefill's products for one instruction set.  Flags: kernels/CMakeLists.txt.
#define LORIKEET_SIMD_512
#include "kernels/simd/batch_inl.h"
#include "kernels/simd/fast_kernels.h"

namespace lorikeet::avx512 {

void MatMulBatch(const RoundedActivations& x, const WeightView& w, const Matrix& y, int64_t begin,
                 int64_t end, bool accumulate) {
  MatMulBatchRange(x, w, y, begin, end, accumulate);
}

}  // namespace lorikeet::avx512
