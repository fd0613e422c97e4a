#include "common/adapter/sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/adapter/gguf_io.h"
#include "common/base/random.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

constexpr int kIn = 6, kOut = 5;

Adapter RandomAdapter(AdapterKind kind, std::vector<AdapterTarget> targets, int rank, float alpha) {
  Rng rng(static_cast<uint64_t>(rank));
  const auto values = [&](int count) {
    std::vector<float> result(static_cast<size_t>(count));
    for (float& value : result) value = static_cast<float>(rng.Normal());
    return result;
  };
  Adapter adapter;
  adapter.info.architecture = "llama";
  adapter.info.name = "rank" + std::to_string(rank);
  adapter.info.kind = kind;
  adapter.info.alpha = alpha;
  adapter.info.persona_id = "someone";
  for (const AdapterTarget& target : targets) {
    AdapterMatrix matrix;
    matrix.target = target;
    matrix.rank = rank;
    matrix.in_features = kIn;
    matrix.out_features = kOut;
    matrix.a = values(rank * kIn);
    matrix.b = values(kOut * rank);
    if (kind == AdapterKind::kCore) matrix.core = values(rank * rank);
    adapter.matrices.push_back(std::move(matrix));
  }
  return adapter;
}

// What the adapters add to weight [row, column] of `target`.
double Added(const std::vector<AdapterRef>& adapters, const AdapterTarget& target, int row,
             int column) {
  double sum = 0;
  for (const AdapterRef& reference : adapters) {
    for (const AdapterMatrix& matrix : reference.adapter->matrices) {
      if (matrix.target != target) continue;
      const std::vector<float> b = matrix.EffectiveB();
      for (int r = 0; r < matrix.rank; ++r) {
        sum += double{reference.scale} * reference.adapter->BaseScale(matrix) *
               b[static_cast<size_t>(row * matrix.rank + r)] *
               matrix.a[static_cast<size_t>(r * kIn + column)];
      }
    }
  }
  return sum;
}

const AdapterTarget kQuery{0, Module::kQ}, kDown{1, Module::kDown}, kUp{1, Module::kUp};

TEST(SumTest, AddsWhatAllTermsAdd) {
  const Adapter lora = RandomAdapter(AdapterKind::kLora, {kQuery, kDown}, 3, 8);
  const Adapter core = RandomAdapter(AdapterKind::kCore, {kQuery, kUp}, 2, 5);
  const Adapter plain = RandomAdapter(AdapterKind::kLora, {kQuery}, 1, 0);
  const std::vector<AdapterRef> terms = {{&lora, 0.5f}, {&core, -2.0f}, {&plain, 1.0f}};
  const auto sum = SumAdapters(terms);
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(sum->info.kind, AdapterKind::kLora);
  EXPECT_EQ(sum->info.alpha, 0);  // ranks 6, 2 and 3
  EXPECT_EQ(sum->info.name, "rank3 + rank2 + rank1");
  EXPECT_EQ(sum->info.persona_id, "");
  ASSERT_EQ(sum->matrices.size(), 3u);
  EXPECT_EQ(sum->matrices[0].rank, 6);
  for (const AdapterTarget& target : {kQuery, kDown, kUp}) {
    for (int row = 0; row < kOut; ++row) {
      for (int column = 0; column < kIn; ++column) {
        EXPECT_NEAR(Added({{&*sum, 1.0f}}, target, row, column), Added(terms, target, row, column),
                    1e-5);
      }
    }
  }
}

TEST(SumTest, OneRankHasAnAlpha) {
  const Adapter a = RandomAdapter(AdapterKind::kLora, {kQuery, kDown}, 3, 8);
  const auto sum = SumAdapters(std::vector<AdapterRef>{{&a, 1.0f}, {&a, 1.0f}}).value();
  EXPECT_EQ(sum.info.alpha, 6);
  EXPECT_EQ(sum.BaseScale(sum.matrices[0]), 1);
}

void ExpectError(const std::vector<AdapterRef>& terms, absl::StatusCode code,
                 const std::string& words) {
  const auto sum = SumAdapters(terms);
  EXPECT_EQ(sum.status().code(), code);
  EXPECT_THAT(std::string(Message(sum.status())), HasSubstr(words));
}

TEST(SumTest, AdaptersThatDoNotBelongTogether) {
  const Adapter a = RandomAdapter(AdapterKind::kLora, {kQuery}, 3, 8);
  Adapter other = RandomAdapter(AdapterKind::kLora, {kQuery}, 3, 8);
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ExpectError({}, kInvalid, "at least one");
  other.info.architecture = "qwen2";
  ExpectError({{&a}, {&other}}, kInvalid, "expected adapters for llama, got one for qwen2");
  other = a;
  other.matrices[0].in_features = 3;
  other.matrices[0].a.resize(9);
  ExpectError({{&a}, {&other}}, kInvalid, "got [5, 6] and [5, 3]");
  const Adapter large = RandomAdapter(AdapterKind::kLora, {kQuery}, kMaxAdapterRank, 8);
  ExpectError({{&a}, {&large}}, kInvalid, "got 1027");
  ExpectError({{&a, INFINITY}}, kInvalid, "not finite");
  other = a;
  other.info.base_fingerprint = std::string(64, 'a');
  // A term that does not name its base may be of any.
  const auto sum = SumAdapters(std::vector<AdapterRef>{{&a}, {&other}});
  EXPECT_EQ(sum.value().info.base_fingerprint, other.info.base_fingerprint);
  Adapter third = a;
  third.info.base_fingerprint = std::string(64, 'b');
  ExpectError({{&other}, {&third}}, absl::StatusCode::kFailedPrecondition, "got one of bbbb");
}

}  // namespace
}  // namespace lorikeet
