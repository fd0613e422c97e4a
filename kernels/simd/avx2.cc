// The kernels compiled for AVX2, FMA and F16C.  Flags: kernels/CMakeLists.txt.
#include "kernels/kernel_table.h"
#include "kernels/simd/cached_attention_kernels.h"
#include "kernels/simd/fast_kernels.h"
#include "kernels/simd/matmul_inl.h"
#include "kernels/simd/rows_inl.h"
#include "kernels/simd/train_kernels.h"
#include "kernels/simd/unpack_inl.h"
#include "kernels/simd/vec_inl.h"
#include "kernels/simd/vocabulary_inl.h"

namespace lorikeet {

const KernelTable& Avx2Kernels() {
  static constexpr KernelTable kTable = {
      .dequantize_row = DequantizeFast,
      .mat_mul = MatMulRange,
      .mat_mul_backward_input = MatMulBackwardInputRange,
      .gemm = Gemm,
      .wants_bf16 = false,
      .few_rows = 8,
      .round_activations = avx2::RoundRows,
      .mat_mul_few = avx2::MatMulFew,
      .mat_mul_batch = avx2::MatMulBatch,
      .mat_mul_batch_backward = avx2::MatMulBatchBackward,
      .add_low_rank = avx2::AddLowRank,
      .rms_norm = RmsNormRow,
      .rms_norm_backward = RmsNormBackwardRow,
      .swiglu = SwiGluRow,
      .swiglu_backward = SwiGluBackwardRow,
      .log_sum_exp = LogSumExp,
      .scaled_exp = ScaledExp,
      .largest = Largest,
      .exponentials = Exponentials,
      .attention = avx2::AttendQueries,
      .attention_backward_start = avx2::StartAttentionBackward,
      .attention_backward = avx2::AttentionBackwardTile,
      .lora_project = avx2::LoraProject,
      .lora_add = avx2::LoraAdd,
      .lora_gather = avx2::LoraGather,
      .lora_scatter = avx2::LoraScatter,
      .store_cache_row = avx2::StoreCacheRow,
      .attend_chunk = avx2::AttendChunk,
      .fold_partial = avx2::FoldPartial,
  };
  return kTable;
}

}  // namespace lorikeet
