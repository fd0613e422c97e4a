#include "kernels/cached_attention.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "common/base/thread_pool.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

// Keys or values in a cache that ends where readable memory ends.
class Cache {
 public:
  Cache(TensorType type, const AttentionShape& shape, const Tensor& rows, ThreadPool* pool)
      : d_(shape.head_size), values(rows.rows, rows.cols, 0) {
    const int64_t row_bytes = CacheRowBytes(type, d_);
    const int64_t bytes = rows.rows * row_bytes * shape.kv_heads;
    const int64_t page = sysconf(_SC_PAGESIZE);
    length_ = static_cast<size_t>((bytes + page - 1) / page * page + page);
    memory_ = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto* end = static_cast<uint8_t*>(memory_) + length_ - page;
    mprotect(end, static_cast<size_t>(page), PROT_NONE);
    view = {type, end - bytes, row_bytes, rows.rows * row_bytes};
    StoreInCache(rows.view(), view, shape.kv_heads, 0, pool);
    for (int64_t s = 0; s < rows.rows; ++s) {
      for (int h = 0; h < shape.kv_heads; ++h) {
        DequantizeRow(type, Row(s, h), d_, values.view().row(s) + h * d_);
      }
    }
  }
  ~Cache() { munmap(memory_, length_); }
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  const uint8_t* Row(int64_t position, int head) const {
    return view.data + head * view.head_bytes + position * view.row_bytes;
  }

 private:
  int d_;
  void* memory_;
  size_t length_;

 public:
  Tensor values;  // what the cache holds
  CacheView view;
};

// Attention written out in double, for one row of one head; `bound` receives sum p |v|.
void PlainAttention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionShape& shape,
                    int64_t t, int head, std::vector<double>* out, std::vector<double>* bound) {
  const int d = shape.head_size;
  const int kv = head / (shape.heads / shape.kv_heads);
  std::vector<double> scores;
  double largest = -1e300;
  for (int64_t s = 0; s <= shape.query_offset + t; ++s) {
    double score = 0;
    for (int i = 0; i < d; ++i)
      score += static_cast<double>(q.at(t, head * d + i)) * k.at(s, kv * d + i);
    scores.push_back(score * shape.scale);
    largest = std::max(largest, scores.back());
  }
  out->assign(static_cast<size_t>(d), 0.0);
  bound->assign(static_cast<size_t>(d), 0.0);
  double total = 0;
  for (size_t s = 0; s < scores.size(); ++s) {
    const double p = std::exp(scores[s] - largest);
    total += p;
    for (int i = 0; i < d; ++i) {
      const double x = p * v.at(static_cast<int64_t>(s), kv * d + i);
      (*out)[static_cast<size_t>(i)] += x;
      (*bound)[static_cast<size_t>(i)] += std::fabs(x);
    }
  }
  for (double& x : *out) x /= total;
  for (double& x : *bound) x /= total;
}

Tensor Attended(const Tensor& q, const CacheView& k, const CacheView& v,
                const AttentionShape& shape, ThreadPool* pool) {
  Tensor out(q.rows, q.cols, 0, 0.0f, 3);
  std::vector<uint8_t> scratch(
      static_cast<size_t>(CachedAttentionScratchBytes(q.rows, shape.query_offset + q.rows, shape)));
  CachedAttention(q.view(), k, v, shape, out.view(), scratch.data(), pool);
  return out;
}

struct Case {
  AttentionShape shape;
  TensorType type = TensorType::kF16;
  int64_t t_count = 1;
  float deviation = 1.0f;  // of queries and keys
};

class CachedAttentionTest : public KernelTest {
 protected:
  // Scores err by no more than 2^-22 of the sum of the magnitudes they add up (some roundings to
  // 2^-24, in parallel sums), p by that much relatively plus 2^-20 for the exponential and the
  // sums.
  void ExpectMatches(const Case& c) {
    const AttentionShape& shape = c.shape;
    const int64_t keys = shape.query_offset + c.t_count;
    const int d = shape.head_size;
    const Tensor q(c.t_count, shape.heads * d, 1, c.deviation, 3);
    const Tensor k_rows(keys, shape.kv_heads * d, 2, c.deviation, 5);
    const Tensor v_rows(keys, shape.kv_heads * d, 3, 1.0f, 1);
    ThreadPool pool(2);
    const Cache k(c.type, shape, k_rows, &pool);
    const Cache v(c.type, shape, v_rows, &pool);
    const Tensor out = Attended(q, k.view, v.view, shape, &pool);
    const double terms = 4.0 * c.deviation * c.deviation * d * static_cast<double>(shape.scale);
    const double tolerance = std::ldexp(1.0, -20) + std::ldexp(terms, -22);
    std::vector<double> want, bound;
    // All rows where there are few; else those around the borders of chunks and blocks.
    const int64_t step = c.t_count > 8 ? 13 : 1;
    for (int64_t t = 0; t < c.t_count;
         t += t == c.t_count - 1 ? 1 : std::min(step, c.t_count - 1 - t)) {
      for (int head = 0; head < shape.heads; ++head) {
        PlainAttention(q, k.values, v.values, shape, t, head, &want, &bound);
        for (int i = 0; i < d; ++i) {
          const auto at = static_cast<size_t>(i);
          ASSERT_LE(std::fabs(out.at(t, head * d + i) - want[at]), tolerance * bound[at])
              << TraitsOf(c.type).name << " heads " << shape.heads << "/" << shape.kv_heads
              << " of " << d << ", offset " << shape.query_offset << ", row " << t << " of "
              << c.t_count << ", head " << head << ", " << i << ": got " << out.at(t, head * d + i)
              << ", expected " << want[at];
        }
      }
    }
  }
};

AttentionShape ShapeOf(int heads, int kv_heads, int head_size, int64_t offset = 0) {
  return {.heads = heads,
          .kv_heads = kv_heads,
          .head_size = head_size,
          .scale = 1.0f / std::sqrt(static_cast<float>(head_size)),
          .query_offset = offset};
}

TEST_P(CachedAttentionTest, MatchesDoubleAtEveryOffset) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0}) {
    for (const int64_t offset : {0, 5, 255, 256, 700}) {
      for (const int64_t t_count : {1, 3, 8, 64, 130}) {
        if (GetParam() == Isa::kReference && t_count > 8 && offset % 5 != 0) continue;
        ExpectMatches({ShapeOf(7, 1, 32, offset), type, t_count});
      }
    }
  }
}

TEST_P(CachedAttentionTest, MatchesDoubleForEveryShape) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0}) {
    for (const int head_size : {32, 64, 80, 128, 256, 6, 33}) {
      if (!CanCache(type, head_size)) continue;
      for (const int group : {1, 2, 7}) {
        for (const int64_t t_count : {1, 3, 8, 64}) {
          if (GetParam() == Isa::kReference && (t_count > 8 || group == 2)) continue;
          ExpectMatches({ShapeOf(2 * group, 2, head_size, 270), type, t_count});
        }
      }
    }
  }
}

// Every number of query rows from 1 to more than a block has, so every shape of register tile.
TEST_P(CachedAttentionTest, EveryNumberOfRowsMatchesDouble) {
  const int step = GetParam() == Isa::kReference ? 10 : 1;
  for (int heads = 1; heads < 30; heads += step) ExpectMatches({ShapeOf(heads, 1, 16, 37)});
}

// Blocks of rows instead of chunks of keys.
TEST_P(CachedAttentionTest, LongPromptsMatchDouble) {
  ExpectMatches({ShapeOf(14, 2, 64, 0), TensorType::kF16, 300});
  ExpectMatches({ShapeOf(14, 2, 64, 390), TensorType::kQ8_0, 130});
  ExpectMatches({ShapeOf(4, 1, 256, 10), TensorType::kF16, 260});
  ExpectMatches({ShapeOf(2, 2, 20, 0), TensorType::kF32, 600});
}

TEST_P(CachedAttentionTest, ExtremeScoresMatchDouble) {
  // Scores of some hundreds, of both signs: without the largest taken off, exp would overflow.
  for (const int64_t t_count : {1, 8, 100}) {
    ExpectMatches({ShapeOf(14, 2, 64, 600), TensorType::kF32, t_count, 8.0f});
    ExpectMatches({ShapeOf(4, 2, 32, 300), TensorType::kF16, t_count, 20.0f});
  }
}

// The best key far below 0, in a chunk of its own, and everything else still lower.
TEST_P(CachedAttentionTest, OneKeyAboveAllOthers) {
  const int64_t keys = 700;
  for (const int64_t best : {0, 255, 256, 511, 699}) {
    const AttentionShape shape = ShapeOf(7, 1, 32, keys - 1);
    Tensor q(1, 7 * 32, 0), k_rows(keys, 32, 0), v_rows(keys, 32, 4);
    for (int h = 0; h < 7; ++h) q.view().row(0)[32 * h] = -50.0f;
    for (int64_t s = 0; s < keys; ++s) k_rows.view().row(s)[0] = s == best ? 80.0f : 160.0f;
    const Cache k(TensorType::kF32, shape, k_rows, nullptr);
    const Cache v(TensorType::kF32, shape, v_rows, nullptr);
    const Tensor out = Attended(q, k.view, v.view, shape, nullptr);
    for (int64_t i = 0; i < q.cols; ++i) {
      EXPECT_FLOAT_EQ(out.at(0, i), v_rows.at(best, i % 32)) << best;
    }
  }
}

// To the bit: whatever the number of threads, and however many queries are done together.
TEST_P(CachedAttentionTest, RowsDependOnNothingElse) {
  for (const int group : {1, 2, 7}) {
    const AttentionShape shape = ShapeOf(2 * group, 2, 64, 200);
    const int64_t t_count = group == 7 ? 100 : 300;
    const Tensor q(t_count, shape.heads * 64, 1);
    const Tensor k_rows(200 + t_count, 128, 2), v_rows(200 + t_count, 128, 3);
    const Cache k(TensorType::kF16, shape, k_rows, nullptr);
    const Cache v(TensorType::kF16, shape, v_rows, nullptr);
    const Tensor alone = Attended(q, k.view, v.view, shape, nullptr);
    for (const int threads : {2, 3, 5}) {
      ThreadPool pool(threads);
      EXPECT_EQ(Attended(q, k.view, v.view, shape, &pool).data, alone.data) << threads;
    }
    for (const int64_t batch : {1, 3, 8}) {
      ThreadPool pool(2);
      for (int64_t t = 0; t + batch <= t_count; t += 11) {
        Tensor part(batch, q.cols, 0);
        std::copy_n(q.view().row(t), batch * q.cols, part.data.data());
        AttentionShape at = shape;
        at.query_offset += t;
        const Tensor out = Attended(part, k.view, v.view, at, &pool);
        for (int64_t i = 0; i < batch; ++i) {
          EXPECT_EQ(std::memcmp(out.view().row(i), alone.view().row(t + i),
                                static_cast<size_t>(q.cols) * sizeof(float)),
                    0)
              << "group " << group << " batch " << batch << " row " << t + i;
        }
      }
    }
  }
}

// Strides of any kind: positions that interleave the heads, as [capacity, kv_heads, head_size].
TEST_P(CachedAttentionTest, AnyLayoutGivesTheSame) {
  const AttentionShape shape = ShapeOf(6, 3, 32, 300);
  const Tensor q(2, 6 * 32, 1);
  const Tensor k_rows(302, 96, 2), v_rows(302, 96, 3);
  const Cache k(TensorType::kQ8_0, shape, k_rows, nullptr);
  const Cache v(TensorType::kQ8_0, shape, v_rows, nullptr);
  std::vector<uint8_t> mixed(302 * 3 * 34 + 1);
  const CacheView interleaved{TensorType::kQ8_0, mixed.data() + 1, 3 * 34, 34};
  StoreInCache(k_rows.view(), interleaved, 3, 0, nullptr);
  EXPECT_EQ(Attended(q, interleaved, v.view, shape, nullptr).data,
            Attended(q, k.view, v.view, shape, nullptr).data);
}

TEST_P(CachedAttentionTest, StoresWhatTheTypeCanHold) {
  const AttentionShape shape = ShapeOf(2, 2, 96, 0);
  Tensor rows(40, 192, 7, 3.0f, 2);
  rows.view().row(0)[0] = 1e6f;
  rows.view().row(0)[1] = -1e6f;
  ThreadPool pool(2);
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0}) {
    const Cache cache(type, shape, rows, &pool);
    for (int64_t s = 0; s < rows.rows; ++s) {
      for (int64_t c = 0; c < rows.cols; ++c) {
        float largest = 0;
        for (int64_t i = c / 32 * 32; i < c / 32 * 32 + 32; ++i) {
          largest = std::max(largest, std::fabs(rows.at(s, i)));
        }
        const float x = rows.at(s, c);
        // Half a step of 1/127, and the scale's own rounding to a half.
        const float step = type == TensorType::kQ8_0  ? largest * (0.5f / 127 + 0x1p-11f)
                           : type == TensorType::kF16 ? std::max(std::fabs(x) * 0x1p-11f, 0x1p-25f)
                                                      : 0.0f;
        if (type == TensorType::kF16 && std::fabs(x) > 65504) {
          EXPECT_EQ(cache.values.at(s, c), std::copysign(65504.0f, x));
        } else {
          EXPECT_LE(std::fabs(cache.values.at(s, c) - x), step * 1.0001f)
              << TraitsOf(type).name << " row " << s << " column " << c << ": " << x;
        }
      }
    }
  }
}

TEST_P(CachedAttentionTest, StoringTouchesNoOtherPosition) {
  std::vector<uint8_t> bytes(2 * 10 * 34 * 2, 0xab);
  const CacheView view{TensorType::kQ8_0, bytes.data(), 68, 680};
  const Tensor rows(3, 128, 5);
  StoreInCache(rows.view(), view, 2, 4, nullptr);
  for (int64_t i = 0; i < static_cast<int64_t>(bytes.size()); ++i) {
    const int64_t position = i % 680 / 68;
    if (position < 4 || position >= 7) {
      EXPECT_EQ(bytes[static_cast<size_t>(i)], 0xab) << i;
    }
  }
}

TEST(CachedAttentionSizesTest, WhatFitsACache) {
  EXPECT_TRUE(CanCache(TensorType::kF16, 80));
  EXPECT_TRUE(CanCache(TensorType::kQ8_0, 96));
  EXPECT_FALSE(CanCache(TensorType::kQ8_0, 80));
  EXPECT_FALSE(CanCache(TensorType::kQ4_0, 64));
  EXPECT_EQ(CacheRowBytes(TensorType::kQ8_0, 64), 68);
  EXPECT_EQ(CacheRowBytes(TensorType::kF16, 80), 160);
}

INSTANTIATE_TEST_SUITE_P(Isas, CachedAttentionTest, ::testing::ValuesIn(AvailableIsas()),
                         IsaTestName);

}  // namespace
}  // namespace lorikeet
