// The AVX-512 kernels, with products of many rows, and their gradients, by AMX.  Flags:
// kernels/CMakeLists.txt.
#define LORIKEET_SIMD_512
#include "kernels/kernel_table.h"
#include "kernels/simd/amx_inl.h"

namespace lorikeet {
namespace {

void RoundRowsAmx(const RoundedActivations& rounded, int64_t begin, int64_t end) {
  if (rounded.bf16 != nullptr) RoundBf16Rows(rounded, begin, end);
  if (rounded.q != nullptr) Avx512Kernels().round_activations(rounded, begin, end);
}

// Few rows are rounded to bytes.
void MatMulBackwardAmx(const RoundedActivations& d_y, const WeightView& w, const Matrix& d_x,
                       int64_t begin, int64_t end, bool accumulate) {
  if (d_y.bf16 == nullptr) {
    return Avx512Kernels().mat_mul_batch_backward(d_y, w, d_x, begin, end, accumulate);
  }
  MatMulBackwardAmxRange(d_y, w, d_x, begin, end, accumulate);
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
