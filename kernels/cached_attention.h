// Attention of the runtime: queries of one or more positions over a key/value cache of F32, F16 or
// Q8_0.
//
// Not for training (attention.h).  Nothing allocates.  A row of the result depends on the ISA, its
// query and the cache only: not on the number of threads, nor on how many queries are done together
// (so a batch that verifies drafted tokens gives to the bit what decoding one by one gives). Source
// of the scheme: FlashAttention and flash decoding, arXiv 2205.14135 and 2307.08691; keys are taken
// in chunks at fixed positions whose partial results are merged in order.
#ifndef LORIKEET_KERNELS_CACHED_ATTENTION_H_
#define LORIKEET_KERNELS_CACHED_ATTENTION_H_

#include <cstdint>

#include "common/base/tensor_type.h"
#include "common/base/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/views.h"

namespace lorikeet {

// One layer's keys or values: for each kv head, at each position, a row of head_size numbers of
// type kF32, kF16 or kQ8_0 (that one only where head_size % 32 == 0), as DequantizeRow reads it.
// No alignment is needed; reading is best where the rows of a head follow each other (row_bytes ==
// CacheRowBytes).  Only rows that are stored or attended to are touched, and nothing beyond them.
struct CacheView {
  TensorType type = TensorType::kF16;
  uint8_t* data = nullptr;
  int64_t row_bytes = 0;   // from a position to the next
  int64_t head_bytes = 0;  // from a kv head to the next
};

// Whether a cache of `type` can hold rows of `head_size` numbers.
bool CanCache(TensorType type, int head_size);
// Bytes of one row.  REQUIRES: CanCache(type, head_size).
int64_t CacheRowBytes(TensorType type, int head_size);

// Writes rows [T, kv_heads * head_size] at positions [position, position + T).  F16 rounds to
// nearest even and keeps finite numbers finite (65504 at most); Q8_0 rounds to 1/127 of the largest
// of 32.
void StoreInCache(ConstMatrix rows, const CacheView& cache, int kv_heads, int64_t position,
                  ThreadPool* pool);

// out = softmax(scale q k^T) v for every query row and head; q, out [T, heads * head_size].  Row t
// stands at position shape.query_offset + t and sees positions [0, query_offset + t], its own
// included: store it first.  Arithmetic is f32 on the numbers that the cache holds.
// `scratch` of CachedAttentionScratchBytes(t, keys, shape), t >= T, keys >= query_offset + T.
// REQUIRES: shape.first_key is null; finite q and cache; out aliases neither q nor the cache.
void CachedAttention(ConstMatrix q, const CacheView& k, const CacheView& v,
                     const AttentionShape& shape, Matrix out, uint8_t* scratch, ThreadPool* pool);

// Bytes that suffice for every call with up to `t` queries that see up to `keys` positions
// (query_offset is not read), whatever the alignment.
int64_t CachedAttentionScratchBytes(int64_t t, int64_t keys, const AttentionShape& shape);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_CACHED_ATTENTION_H_
