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

KernelTable MakeTable() {
  KernelTable table = Avx512Kernels();
  table.wants_bf16 = true;
  table.round_activations = RoundRowsAmx;
  table.mat_mul_batch = MatMulAmxRange;
  return table;
}

}  // namespace

const KernelTable& AmxKernels() {
  static const KernelTable kTable = MakeTable();
  return kTable;
}

}  // namespace lorikeet
