// Attention over a cache for one instruction set.  Flags: kernels/CMakeLists.txt.
#include "kernels/simd/cached_attention_inl.h"
#include "kernels/simd/cached_attention_kernels.h"

namespace lorikeet::avx2 {

void StoreCacheRow(const float* src, int64_t n, TensorType type, uint8_t* dst) {
  StoreRow(src, n, type, dst);
}

void AttendChunk(const AttentionChunk& chunk) { AttendToChunk(chunk); }

void FoldPartial(const float* partial, int64_t head_size, float* sums) {
  FoldInto(partial, head_size, sums);
}

}  // namespace lorikeet::avx2
