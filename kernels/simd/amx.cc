// The AVX-512 kernels, with products of many rows by AMX.  Flags: kernels/CMakeLists.txt.
#define LORIKEET_SIMD_512
#include "kernels/kernel_table.h"
#include "kernels/simd/amx_inl.h"

namespace lorikeet {
namespace {

void RoundRowsAmx(const RoundedActivations& rounded, int64_t begin, int64_t end) {
  if (rounded.bf16 != nullptr) RoundBf16Rows(rounded, begin, end);
  if (rounded.q != nullptr) Avx512Kernels().round_activations(rounded, begin, end);
}

// Gradients rounded to bfloat16 are multiplied as the floats that they come from.
void MatMulBackwardAmx(const RoundedActivations& d_y, const WeightView& w, const Matrix& d_x,
                       int64_t begin, int64_t end, bool accumulate) {
  const KernelTable& base = Avx512Kernels();
  if (d_y.q != nullptr) {
    return base.mat_mul_batch_backward(d_y, w, d_x, begin, end, accumulate);
  }
  for (int64_t t = 0; t < d_x.rows && !accumulate; ++t) {
    for (int64_t c = begin; c < end; ++c) d_x.data[t * d_x.stride + c] = 0.0f;
  }
  base.mat_mul_backward_input(d_y.x, w, d_x, begin, end);
}

KernelTable MakeTable() {
  KernelTable table = Avx512Kernels();
  table.wants_bf16 = true;
  table.round_activations = RoundRowsAmx;
  table.mat_mul_batch = MatMulAmxRange;
  table.mat_mul_batch_backward = MatMulBackwardAmx;
  return table;
}

}  // namespace

const KernelTable& AmxKernels() {
  static const KernelTable kTable = MakeTable();
  return kTable;
}

}  // namespace lorikeet
