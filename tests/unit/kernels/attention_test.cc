#include "kernels/attention.h"

#include "common/base/thread_pool.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

// Softmax attention written out in double, for one row of one head: out [head_size]; returns log
// sum exp.
double PlainAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                      const AttentionShape& shape, int64_t t, int head, std::vector<double>* out) {
  const int d = shape.head_size;
  const int kv = head / (shape.heads / shape.kv_heads);
  const int64_t first = shape.first_key != nullptr ? shape.first_key[t] : 0;
  out->assign(static_cast<size_t>(d), 0.0);
  double total = 0;
  for (int64_t s = first; s <= shape.query_offset + t; ++s) {
    double score = 0;
    for (int i = 0; i < d; ++i)
      score += static_cast<double>(q.at(t, head * d + i)) * k.at(s, kv * d + i);
    const double p = std::exp(score * shape.scale);
    total += p;
    for (int i = 0; i < d; ++i) (*out)[static_cast<size_t>(i)] += p * v.at(s, kv * d + i);
  }
  for (double& x : *out) x /= total;
  return std::log(total);
}

class AttentionTest : public KernelTest {
 protected:
  void ExpectForward(const AttentionShape& shape, int64_t t_count) {
    const int64_t keys = shape.query_offset + t_count;
    const Tensor q(t_count, shape.heads * shape.head_size, 1, 1.0f, 3);
    const Tensor k(keys, shape.kv_heads * shape.head_size, 2, 1.0f, 5);
    const Tensor v(keys, shape.kv_heads * shape.head_size, 3, 1.0f, 1);
    Tensor out(t_count, shape.heads * shape.head_size, 0);
    Tensor lse(shape.heads, t_count, 0);
    ThreadPool pool(2);
    Attention(q.view(), k.view(), v.view(), shape, out.view(), lse.view(), &pool);
    std::vector<double> want;
    for (int64_t t = 0; t < t_count; ++t) {
      for (int head = 0; head < shape.heads; ++head) {
        const double want_lse = PlainAttention(q, k, v, shape, t, head, &want);
        ASSERT_NEAR(lse.at(head, t), want_lse, 1e-5) << "t " << t << " head " << head;
        for (int i = 0; i < shape.head_size; ++i) {
          ASSERT_NEAR(out.at(t, head * shape.head_size + i), want[static_cast<size_t>(i)], 5e-6)
              << "t " << t << " head " << head << " of " << t_count;
        }
      }
    }
  }
};

TEST_P(AttentionTest, TrainingShapesMatchDouble) {
  for (const int64_t t_count : {1, 2, 9, 64, 150}) {
    ExpectForward({.heads = 4, .kv_heads = 2, .head_size = 16, .scale = 0.25f}, t_count);
  }
  ExpectForward({.heads = 3, .kv_heads = 3, .head_size = 10, .scale = 0.3f}, 33);
  ExpectForward({.heads = 2, .kv_heads = 1, .head_size = 256, .scale = 0.06f}, 20);
}

TEST_P(AttentionTest, DecodingOverACacheMatchesDouble) {
  for (const int64_t offset : {0, 5, 255, 256, 600}) {
    for (const int64_t t_count : {1, 3, 40}) {
      ExpectForward(
          {.heads = 4, .kv_heads = 1, .head_size = 32, .scale = 0.2f, .query_offset = offset},
          t_count);
    }
  }
}

TEST_P(AttentionTest, PackedDocumentsDoNotSeeEachOther) {
  std::vector<int32_t> first(200);
  for (int t = 0; t < 200; ++t)
    first[static_cast<size_t>(t)] = t < 30 ? 0 : t < 31 ? 30 : t < 140 ? 31 : 140;
  ExpectForward(
      {.heads = 2, .kv_heads = 2, .head_size = 16, .scale = 0.25f, .first_key = first.data()}, 200);
}

TEST_P(AttentionTest, LargeScoresStayFinite) {
  const AttentionShape shape{.heads = 1, .kv_heads = 1, .head_size = 8, .scale = 1.0f};
  const Tensor q(20, 8, 1, 30.0f);
  const Tensor k(20, 8, 2, 30.0f);
  const Tensor v(20, 8, 3);
  Tensor out(20, 8, 0);
  Attention(q.view(), k.view(), v.view(), shape, out.view(), {}, nullptr);
  for (const float x : out.data) EXPECT_LT(std::fabs(x), 10.0f);
}

TEST_P(AttentionTest, GradientsMatchFiniteDifferences) {
  const int32_t first[] = {0, 0, 0, 3, 3, 3, 3};
  for (const bool packed : {false, true}) {
    const AttentionShape shape{.heads = 4,
                               .kv_heads = 2,
                               .head_size = 6,
                               .scale = 0.4f,
                               .first_key = packed ? first : nullptr};
    Tensor q(7, 24, 1), k(7, 12, 2), v(7, 12, 3);
    const Tensor d_out(7, 24, 4);
    Tensor out(7, 24, 0), lse(4, 7, 0);
    const auto loss = [&] {
      Attention(q.view(), k.view(), v.view(), shape, out.view(), lse.view(), nullptr);
      return Inner(out, d_out);
    };
    const auto want_q = NumericalGradient(q.data, loss);
    const auto want_k = NumericalGradient(k.data, loss);
    const auto want_v = NumericalGradient(v.data, loss);
    loss();
    Tensor d_q(7, 24, 5), d_k(7, 12, 6), d_v(7, 12, 7), delta(4, 7, 0);
    AttentionBackward({.q = q.view(),
                       .k = k.view(),
                       .v = v.view(),
                       .out = out.view(),
                       .log_sum_exp = lse.view(),
                       .d_out = d_out.view(),
                       .d_q = d_q.view(),
                       .d_k = d_k.view(),
                       .d_v = d_v.view(),
                       .delta = delta.view()},
                      shape, nullptr);
    ExpectGradient(d_q.data, want_q, "d_q");
    ExpectGradient(d_k.data, want_k, "d_k");
    ExpectGradient(d_v.data, want_v, "d_v");
  }
}

// Forward and backward over t_count queries: d_q, d_k, d_v and the output, one after the other.
std::vector<float> RunBothWays(const AttentionShape& shape, int64_t t_count, int threads) {
  const int64_t keys = shape.query_offset + t_count;
  const int64_t width = int64_t{shape.heads} * shape.head_size;
  const int64_t kv_width = int64_t{shape.kv_heads} * shape.head_size;
  const Tensor q(t_count, width, 1, 1.0f, 2), k(keys, kv_width, 2), v(keys, kv_width, 3);
  const Tensor d_out(t_count, width, 4);
  Tensor out(t_count, width, 0), lse(shape.heads, t_count, 0), delta(shape.heads, t_count, 0);
  Tensor d_q(t_count, width, 5), d_k(keys, kv_width, 6, 1.0f, 3), d_v(keys, kv_width, 7);
  const Tensor before = d_k;
  ThreadPool pool(threads);
  Attention(q.view(), k.view(), v.view(), shape, out.view(), lse.view(), &pool);
  AttentionBackward({.q = q.view(),
                     .k = k.view(),
                     .v = v.view(),
                     .out = out.view(),
                     .log_sum_exp = lse.view(),
                     .d_out = d_out.view(),
                     .d_q = d_q.view(),
                     .d_k = d_k.view(),
                     .d_v = d_v.view(),
                     .delta = delta.view()},
                    shape, &pool);
  for (int64_t r = 0; r < keys; ++r) {
    for (int64_t c = kv_width; c < d_k.stride; ++c) EXPECT_EQ(d_k.at(r, c), before.at(r, c));
  }
  std::vector<float> all = d_q.data;
  for (const Tensor* tensor : {&d_k, &d_v, &out}) {
    all.insert(all.end(), tensor->data.begin(), tensor->data.end());
  }
  return all;
}

// Long sequences cross tile borders: the instruction set against the reference.
TEST_P(AttentionTest, LongBackwardMatchesTheReference) {
  std::vector<int32_t> first(200);
  for (int t = 0; t < 200; ++t) {
    first[static_cast<size_t>(t)] = t < 70 ? 0 : t < 75 ? 70 : t < 139 ? 75 : 139;
  }
  const AttentionShape shapes[] = {
      {.heads = 4, .kv_heads = 2, .head_size = 24, .scale = 0.2f},
      {.heads = 4, .kv_heads = 2, .head_size = 64, .scale = 0.1f, .first_key = first.data()},
      {.heads = 9, .kv_heads = 1, .head_size = 10, .scale = 0.3f},
      {.heads = 3, .kv_heads = 3, .head_size = 80, .scale = 0.1f, .first_key = first.data()},
      {.heads = 2, .kv_heads = 1, .head_size = 256, .scale = 0.05f},
      {.heads = 2, .kv_heads = 1, .head_size = 16, .scale = 0.2f, .query_offset = 40},
      {.heads = 2, .kv_heads = 1, .head_size = 16, .scale = 0.2f, .query_offset = 128},
  };
  for (const AttentionShape& shape : shapes) {
    for (const int64_t t_count : {65, 128, 170, 200}) {
      if (shape.head_size > 100 && t_count > 128) continue;
      const auto got = RunBothWays(shape, t_count, 2);
      SetIsaForTest(Isa::kReference);
      const auto want = RunBothWays(shape, t_count, 1);
      SetIsaForTest(GetParam());
      ExpectGradient(got, {want.begin(), want.end()}, "all", 1e-5);
    }
  }
}

TEST_P(AttentionTest, ThreadsDoNotChangeABit) {
  std::vector<int32_t> first(200);
  for (int t = 0; t < 200; ++t) first[static_cast<size_t>(t)] = t < 90 ? 0 : 90;
  for (const int kv_heads : {1, 3}) {
    const AttentionShape shape{.heads = 3,
                               .kv_heads = kv_heads,
                               .head_size = 32,
                               .scale = 0.2f,
                               .first_key = first.data()};
    const auto one = RunBothWays(shape, 200, 1);
    for (const int threads : {2, 5}) EXPECT_EQ(RunBothWays(shape, 200, threads), one);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, AttentionTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);

}  // namespace
}  // namespace lorikeet
