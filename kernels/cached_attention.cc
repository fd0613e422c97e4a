#include "kernels/cached_attention.h"

#include <algorithm>
#include <cstring>

#include "common/base/status_macros.h"
#include "kernels/kernel_table.h"
#include "kernels/parallel.h"

namespace lorikeet {
namespace {

// Up to this many query rows of a kv head, chunks of keys are shared out among the threads, and
// their partial results merged afterwards; from then on there are enough blocks of rows.
constexpr int64_t kSplitRows = 512;
constexpr int64_t kAlignment = 64;

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t Group(const AttentionShape& shape) { return shape.heads / shape.kv_heads; }

// Blocks of about equal numbers of rows.
struct RowBlocks {
  RowBlocks(int64_t row_count, int64_t head_size)
      : rows(row_count),
        blocks(DivideUp(rows, std::clamp<int64_t>(kChunkNumbers / head_size, 1, kChunkRows))) {}
  int64_t Begin(int64_t block) const { return rows * block / blocks; }
  int64_t rows;
  int64_t blocks;
};

struct Call {
  ConstMatrix q;
  CacheView k, v;
  AttentionShape shape;
  Matrix out;
  float* partials;  // [kv_heads, chunks, rows, PartialStride] when the keys are split
  RowBlocks blocks;
  int64_t chunks;

  int64_t rows() const { return blocks.rows; }
  int64_t stride() const { return PartialStride(shape.head_size); }
  int64_t Keys(int64_t row) const { return shape.query_offset + row / Group(shape) + 1; }
  float* OutRow(int64_t kv_head, int64_t row) const {
    const int64_t group = Group(shape);
    return out.row(row / group) + (kv_head * group + row % group) * shape.head_size;
  }
  float* Partial(int64_t kv_head, int64_t chunk, int64_t row) const {
    return partials + ((kv_head * chunks + chunk) * rows() + row) * stride();
  }
  // The first row from `begin` on that sees a key of `chunk`.
  int64_t FirstRow(int64_t chunk, int64_t begin) const {
    return std::max(begin, (chunk * kChunkKeys - shape.query_offset) * Group(shape));
  }
};

// Where the keys of a chunk begin; null for the head after the last.
const uint8_t* KeysOf(const Call& call, int64_t kv_head, int64_t chunk) {
  if (kv_head == call.shape.kv_heads) return nullptr;
  return call.k.data + kv_head * call.k.head_bytes + chunk * kChunkKeys * call.k.row_bytes;
}

void Attend(const Call& call, int64_t kv_head, int64_t chunk, int64_t begin, int64_t end,
            float* partials, const uint8_t* next_keys = nullptr) {
  Kernels().attend_chunk({.q = call.q,
                          .k = call.k,
                          .v = call.v,
                          .shape = call.shape,
                          .kv_head = static_cast<int>(kv_head),
                          .row_begin = begin,
                          .row_end = end,
                          .key_begin = chunk * kChunkKeys,
                          .key_end = std::min((chunk + 1) * kChunkKeys, call.Keys(end - 1)),
                          .partials = partials,
                          .next_keys = next_keys});
}

void Finish(const float* sums, int64_t head_size, float* out) {
  const float inverse = 1.0f / sums[1];
  for (int64_t i = 0; i < head_size; ++i) out[i] = sums[kPartialHeader + i] * inverse;
}

// Chunks of keys spread over the pool, then merged.
void AttendSplit(const Call& call, double work, ThreadPool* pool) {
  const int64_t kv_heads = call.shape.kv_heads;
  const int64_t blocks = call.blocks.blocks;
  Split(pool, call.chunks * kv_heads * blocks, work, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t block = item % blocks;
      const int64_t chunk = item / blocks % call.chunks;
      const int64_t kv_head = item / blocks / call.chunks;
      const int64_t begin = call.FirstRow(chunk, call.blocks.Begin(block));
      const int64_t end = call.blocks.Begin(block + 1);
      if (begin < end) {
        const uint8_t* next = chunk + 1 < call.chunks ? KeysOf(call, kv_head, chunk + 1)
                                                      : KeysOf(call, kv_head + 1, 0);
        Attend(call, kv_head, chunk, begin, end, call.Partial(kv_head, chunk, begin),
               block + 1 == blocks ? next : nullptr);
      }
    }
  });
  const double merge_work =
      4.0 * static_cast<double>(kv_heads * call.chunks * call.rows() * call.stride());
  Split(pool, kv_heads * call.rows(), merge_work, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t row = item % call.rows();
      const int64_t kv_head = item / call.rows();
      float* sums = call.Partial(kv_head, 0, row);
      for (int64_t c = 1; c < DivideUp(call.Keys(row), kChunkKeys); ++c) {
        Kernels().fold_partial(call.Partial(kv_head, c, row), call.shape.head_size, sums);
      }
      Finish(sums, call.shape.head_size, call.OutRow(kv_head, row));
    }
  });
}

// One block of query rows over all its keys, chunk after chunk.
void AttendBlock(const Call& call, int64_t kv_head, int64_t block) {
  constexpr int64_t kNumbers = kChunkNumbers + kChunkRows * 2 * kPartialHeader;
  alignas(kAlignment) float partials[kNumbers];
  alignas(kAlignment) float sums[kNumbers];
  const int64_t begin = call.blocks.Begin(block);
  const int64_t end = call.blocks.Begin(block + 1);
  const int64_t stride = call.stride();
  Attend(call, kv_head, 0, begin, end, sums);
  for (int64_t c = 1; c < DivideUp(call.Keys(end - 1), kChunkKeys); ++c) {
    const int64_t first = call.FirstRow(c, begin);
    Attend(call, kv_head, c, first, end, partials);
    for (int64_t r = first; r < end; ++r) {
      Kernels().fold_partial(partials + (r - first) * stride, call.shape.head_size,
                             sums + (r - begin) * stride);
    }
  }
  for (int64_t r = begin; r < end; ++r) {
    Finish(sums + (r - begin) * stride, call.shape.head_size, call.OutRow(kv_head, r));
  }
}

void AttendBlocks(const Call& call, double work, ThreadPool* pool) {
  const int64_t kv_heads = call.shape.kv_heads;
  Split(pool, kv_heads * call.blocks.blocks, work, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      // The last rows see the most keys: they go first, so that no long block is left at the end.
      AttendBlock(call, item % kv_heads, call.blocks.blocks - 1 - item / kv_heads);
    }
  });
}

void CheckCache(const CacheView& cache, int head_size) {
  LORIKEET_CHECK(cache.data != nullptr && CanCache(cache.type, head_size));
}

}  // namespace

bool CanCache(TensorType type, int head_size) {
  if (type == TensorType::kQ8_0) return head_size % 32 == 0;
  return type == TensorType::kF32 || type == TensorType::kF16;
}

int64_t CacheRowBytes(TensorType type, int head_size) {
  LORIKEET_CHECK(CanCache(type, head_size));
  return RowBytes(type, head_size);
}

void StoreInCache(ConstMatrix rows, const CacheView& cache, int kv_heads, int64_t position,
                  ThreadPool* pool) {
  LORIKEET_CHECK(kv_heads > 0 && rows.cols % kv_heads == 0 && position >= 0);
  const int64_t head_size = rows.cols / kv_heads;
  CheckCache(cache, static_cast<int>(head_size));
  const auto& kernels = Kernels();
  Split(pool, rows.rows, 4.0 * static_cast<double>(rows.rows * rows.cols),
        [&](int64_t begin, int64_t end) {
          for (int64_t t = begin; t < end; ++t) {
            uint8_t* to = cache.data + (position + t) * cache.row_bytes;
            for (int64_t h = 0; h < kv_heads; ++h) {
              kernels.store_cache_row(rows.row(t) + h * head_size, head_size, cache.type,
                                      to + h * cache.head_bytes);
            }
          }
        });
}

int64_t CachedAttentionScratchBytes(int64_t t, int64_t keys, const AttentionShape& shape) {
  const int64_t rows = std::min(t * Group(shape), std::max(kSplitRows, Group(shape)));
  return shape.kv_heads * DivideUp(keys, kChunkKeys) * rows * PartialStride(shape.head_size) *
             static_cast<int64_t>(sizeof(float)) +
         kAlignment;
}

void CachedAttention(ConstMatrix q, const CacheView& k, const CacheView& v,
                     const AttentionShape& shape, Matrix out, uint8_t* scratch, ThreadPool* pool) {
  LORIKEET_CHECK(shape.head_size > 0 && shape.head_size <= kMaxHeadSize);
  LORIKEET_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0);
  LORIKEET_CHECK(shape.first_key == nullptr && shape.query_offset >= 0);
  LORIKEET_CHECK(q.cols == shape.heads * shape.head_size);
  LORIKEET_CHECK(out.rows == q.rows && out.cols == q.cols);
  CheckCache(k, shape.head_size);
  CheckCache(v, shape.head_size);
  if (q.rows == 0) return;
  const int64_t rows = q.rows * Group(shape);
  const auto padding = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(scratch) % kAlignment);
  const Call call{.q = q,
                  .k = k,
                  .v = v,
                  .shape = shape,
                  .out = out,
                  .partials = reinterpret_cast<float*>(scratch + padding),
                  .blocks = RowBlocks(rows, shape.head_size),
                  .chunks = DivideUp(shape.query_offset + q.rows, kChunkKeys)};
  const double keys = static_cast<double>(shape.query_offset) + static_cast<double>(q.rows) / 2;
  const double work = 4.0 * static_cast<double>(q.rows * q.cols) * keys;
  if (q.rows == 1 || rows <= kSplitRows) {
    AttendSplit(call, work, pool);
  } else {
    AttendBlocks(call, work, pool);
  }
}

}  // namespace lorikeet
