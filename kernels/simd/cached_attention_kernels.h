// The functions of cached_attention.h that are compiled in files of their own, once per instruction
// set.  See KernelTable for what they do.
#ifndef LORIKEET_KERNELS_SIMD_CACHED_ATTENTION_KERNELS_H_
#define LORIKEET_KERNELS_SIMD_CACHED_ATTENTION_KERNELS_H_

#include <cstdint>

#include "kernels/kernel_table.h"

#define LORIKEET_DECLARE_CACHED_ATTENTION                                         \
  void StoreCacheRow(const float* src, int64_t n, TensorType type, uint8_t* dst); \
  void AttendChunk(const AttentionChunk& chunk);                                  \
  void FoldPartial(const float* partial, int64_t head_size, float* sums);

namespace lorikeet {
namespace reference {
LORIKEET_DECLARE_CACHED_ATTENTION
}
namespace avx2 {
LORIKEET_DECLARE_CACHED_ATTENTION
}
namespace avx512 {
LORIKEET_DECLARE_CACHED_ATTENTION
}
}  // namespace lorikeet

#undef LORIKEET_DECLARE_CACHED_ATTENTION

#endif  // LORIKEET_KERNELS_SIMD_CACHED_ATTENTION_KERNELS_H_
