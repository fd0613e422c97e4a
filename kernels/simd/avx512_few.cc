// Decoding's products, and rounding, for one instruction set.  Flags: kernels/CMakeLists.txt.
#define LORIKEET_SIMD_512
#include "kernels/simd/fast_kernels.h"
#include "kernels/simd/few_inl.h"
#include "kernels/simd/round_inl.h"

namespace lorikeet::avx512 {

void RoundRows(const RoundedActivations& rounded, int64_t begin, int64_t end) {
  RoundRowsRange(rounded, begin, end);
}

void MatMulFew(const RoundedActivations& x, const WeightView& w, const Matrix& y, int64_t begin,
               int64_t end, bool accumulate) {
  MatMulFewRange(x, w, y, begin, end, accumulate);
}

}  // namespace lorikeet::avx512
