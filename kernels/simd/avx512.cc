// The kernels compiled for AVX-512 F, BW, VL, DQ and VNNI.  Flags: kernels/CMakeLists.txt.
#define LORIKEET_SIMD_512
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

const KernelTable& Avx512Kernels() {
  static constexpr KernelTable kTable = {
      .dequantize_row = DequantizeFast,
      .mat_mul = MatMulRange,
      .mat_mul_backward_input = MatMulBackwardInputRange,
      .gemm = Gemm,
      .wants_bf16 = false,
      .few_rows = 8,
      .round_activations = avx512::RoundRows,
      .mat_mul_few = avx512::MatMulFew,
      .mat_mul_batch = avx512::MatMulBatch,
      .mat_mul_batch_backward = avx512::MatMulBatchBackward,
      .add_low_rank = avx512::AddLowRank,
      .rms_norm = RmsNormRow,
      .rms_norm_backward = RmsNormBackwardRow,
      .swiglu = SwiGluRow,
      .swiglu_backward = SwiGluBackwardRow,
      .log_sum_exp = LogSumExp,
      .scaled_exp = ScaledExp,
      .largest = Largest,
      .exponentials = Exponentials,
      .attention = avx512::AttendQueries,
      .attention_backward_start = avx512::StartAttentionBackward,
      .attention_backward = avx512::AttentionBackwardTile,
      .lora_project = avx512::LoraProject,
      .lora_add = avx512::LoraAdd,
      .lora_gather = avx512::LoraGather,
      .lora_scatter = avx512::LoraScatter,
      .store_cache_row = avx512::StoreCacheRow,
      .attend_chunk = avx512::AttendChunk,
      .fold_partial = avx512::FoldPartial,
  };
  return kTable;
}

}  // namespace lorikeet
