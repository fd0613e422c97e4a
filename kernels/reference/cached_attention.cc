// Cached attention in plain portable C++, sums in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kernel_table.h"
#include "kernels/quant.h"
#include "kernels/simd/cached_attention_kernels.h"

namespace lorikeet::reference {
namespace {

const uint8_t* RowOf(const CacheView& cache, int kv_head, int64_t position) {
  return cache.data + kv_head * cache.head_bytes + position * cache.row_bytes;
}

double Dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// One query over keys [key_begin, key_end).
void AttendRow(const AttentionChunk& c, const float* q, int64_t key_end, float* partial) {
  const int d = c.shape.head_size;
  float row[kMaxHeadSize];
  double scores[kChunkKeys];
  double highest = -std::numeric_limits<double>::infinity();
  const int64_t keys = key_end - c.key_begin;
  for (int64_t s = 0; s < keys; ++s) {
    DequantizeRow(c.k.type, RowOf(c.k, c.kv_head, c.key_begin + s), d, row);
    scores[s] = c.shape.scale * Dot(q, row, d);
    highest = std::max(highest, scores[s]);
  }
  const auto largest = static_cast<float>(highest);
  double total = 0;
  double sums[kMaxHeadSize] = {};
  for (int64_t s = 0; s < keys; ++s) {
    DequantizeRow(c.v.type, RowOf(c.v, c.kv_head, c.key_begin + s), d, row);
    const double p = std::exp(scores[s] - largest);
    total += p;
    for (int i = 0; i < d; ++i) sums[i] += p * row[i];
  }
  partial[0] = largest;
  partial[1] = static_cast<float>(total);
  for (int i = 0; i < d; ++i) partial[kPartialHeader + i] = static_cast<float>(sums[i]);
}

}  // namespace

void StoreCacheRow(const float* src, int64_t n, TensorType type, uint8_t* dst) {
  if (type != TensorType::kF16) return QuantizeRow(type, src, n, dst);
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t bits = FloatToHalf(std::clamp(src[i], -65504.0f, 65504.0f));
    std::memcpy(dst + 2 * i, &bits, sizeof(bits));
  }
}

void AttendChunk(const AttentionChunk& c) {
  const int group = c.shape.heads / c.shape.kv_heads;
  for (int64_t r = c.row_begin; r < c.row_end; ++r) {
    const int64_t t = r / group;
    const int64_t head = c.kv_head * group + r % group;
    AttendRow(c, c.q.row(t) + head * c.shape.head_size,
              std::min(c.key_end, c.shape.query_offset + t + 1),
              c.partials + (r - c.row_begin) * PartialStride(c.shape.head_size));
  }
}

void FoldPartial(const float* partial, int64_t head_size, float* sums) {
  const float largest = std::max(partial[0], sums[0]);
  const double shrink_new = std::exp(static_cast<double>(partial[0]) - largest);
  const double shrink_old = std::exp(static_cast<double>(sums[0]) - largest);
  const auto fold = [&](int64_t i) {
    sums[i] = static_cast<float>(shrink_old * sums[i] + shrink_new * partial[i]);
  };
  sums[0] = largest;
  fold(1);
  for (int64_t i = 0; i < head_size; ++i) fold(kPartialHeader + i);
}

}  // namespace lorikeet::reference
