// The arrows from a core delta to what may be masked, and back from the sum of many.
#include "device/update/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lorikeet {
namespace {

constexpr double kClip = 10;
const UpdateLayout kLayout = {
    .persona_count = 3, .block_size = 5, .count_weight = 3, .loss_weight = 0.25, .loss_bound = 8};

CoreDelta DeltaOf(std::vector<float> values) {
  CoreDelta delta;
  delta.values = std::move(values);
  delta.loss_before = 3;
  delta.loss_after = 2;
  return delta;
}

double Norm(const std::vector<float>& values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

TEST(LayOutTest, PutsBlockCountAndLossesInTheirPlaces) {
  const auto laid_out = LayOut(DeltaOf({1, -2, 3, -4, 0.5}), 1, kLayout, kClip);
  ASSERT_TRUE(laid_out.ok()) << laid_out.status();
  EXPECT_THAT(laid_out->values(),
              testing::ElementsAre(0, 0, 0, 0, 0, 1, -2, 3, -4, 0.5, 0, 0, 0, 0, 0,  // blocks
                                   0, 3, 0,                                          // counts
                                   0.75, 0.5));                                      // losses
}

TEST(LayOutTest, EveryPersonaHasItsOwnBlockAndTheSizeIsTheSame) {
  for (int persona = 0; persona < kLayout.persona_count; ++persona) {
    const auto laid_out = LayOut(DeltaOf({1, 1, 1, 1, 1}), persona, kLayout, kClip);
    ASSERT_EQ(static_cast<int64_t>(laid_out->values().size()), kLayout.dimension());
    for (int j = 0; j < kLayout.persona_count * 5; ++j) {
      EXPECT_EQ(laid_out->values()[j], j / 5 == persona ? 1 : 0) << persona << " " << j;
    }
  }
}

TEST(LayOutTest, AnOversizeDeltaIsCutInItsBlockOnly) {
  const auto laid_out = LayOut(DeltaOf({3e6f, -4e6f, 0, 0, 0}), 0, kLayout, kClip);
  ASSERT_TRUE(laid_out.ok());
  EXPECT_LE(Norm(laid_out->values()), kClip * (1 + 1e-6));
  // What the largest losses and the count leave: sqrt(100 - 9 - 2 * 4).
  EXPECT_NEAR(laid_out->values()[0], 0.6 * std::sqrt(83), 1e-4);
  EXPECT_NEAR(laid_out->values()[1], -0.8 * std::sqrt(83), 1e-4);
  EXPECT_EQ(laid_out->values()[15], 3) << "the count stays exact";
  EXPECT_EQ(laid_out->values()[18], 0.75) << "and so do the losses";
  EXPECT_EQ(laid_out->values()[19], 0.5);
}

TEST(LayOutTest, LossesAreClampedToTheirBound) {
  CoreDelta delta = DeltaOf({1e6f, 0, 0, 0, 0});
  delta.loss_before = 100;
  delta.loss_after = -1;
  const auto laid_out = LayOut(delta, 2, kLayout, kClip);
  ASSERT_TRUE(laid_out.ok());
  EXPECT_EQ(laid_out->values()[18], 2);
  EXPECT_EQ(laid_out->values()[19], 0);
  EXPECT_LE(Norm(laid_out->values()), kClip * (1 + 1e-6));
}

TEST(LayOutTest, RejectsWhatDoesNotFit) {
  const std::vector<float> good(5, 1);
  const auto code = [](const CoreDelta& delta, int persona, double clip = kClip) {
    return LayOut(delta, persona, kLayout, clip).status().code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code(DeltaOf({1, 1, 1, 1}), 0), kInvalid);
  EXPECT_EQ(code(DeltaOf({1, 1, 1, 1, 1, 1}), 0), kInvalid);
  EXPECT_EQ(code(DeltaOf(good), -1), kInvalid);
  EXPECT_EQ(code(DeltaOf(good), 3), kInvalid);
  EXPECT_EQ(code(DeltaOf(good), 0, std::sqrt(17)), kInvalid) << "nothing is left for the block";
  EXPECT_EQ(code(DeltaOf(good), 0, std::sqrt(18)), absl::StatusCode::kOk);
}

TEST(LayOutTest, RejectsNumbersThatAreNotFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float bad : {kNan, kInf, -kInf}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(LayOut(DeltaOf({1, bad, 1, 1, 1}), 0, kLayout, kClip).status()));
    CoreDelta before = DeltaOf({1, 1, 1, 1, 1});
    before.loss_before = bad;
    EXPECT_TRUE(absl::IsInvalidArgument(LayOut(before, 0, kLayout, kClip).status())) << bad;
    CoreDelta after = DeltaOf({1, 1, 1, 1, 1});
    after.loss_after = bad;
    EXPECT_TRUE(absl::IsInvalidArgument(LayOut(after, 0, kLayout, kClip).status())) << bad;
  }
}

// The header's argument, with contributions that try to break it.
TEST(SensitivityTest, NoContributionMovesTheSumByMoreThanTheClipNorm) {
  Rng rng(11);
  std::vector<std::pair<int, std::vector<float>>> vectors;
  for (int i = 0; i < 400; ++i) {
    const float size = static_cast<float>(std::pow(10.0, 12 * rng.Uniform() - 4));
    std::vector<float> values(5);
    for (float& value : values) value = size * static_cast<float>(rng.Normal());
    if (i % 4 == 0) std::ranges::fill(values, i % 8 == 0 ? size : -size);
    CoreDelta delta = DeltaOf(values);
    delta.loss_before = i % 3 == 0 ? 1e9 : 20 * rng.Uniform() - 5;
    delta.loss_after = i % 3 == 1 ? 1e9 : 20 * rng.Uniform() - 5;
    const int persona = static_cast<int>(rng.Below(3));
    const auto laid_out = LayOut(delta, persona, kLayout, kClip);
    ASSERT_TRUE(laid_out.ok()) << laid_out.status();
    const ClippedDelta clipped = Clip(laid_out->values(), kClip).value();
    vectors.emplace_back(persona,
                         std::vector<float>(clipped.values().begin(), clipped.values().end()));
  }
  double largest = 0, largest_between = 0;
  for (const auto& [persona, vector] : vectors) {
    largest = std::max(largest, Norm(vector));
    for (const auto& [other_persona, other] : vectors) {
      std::vector<float> difference = vector;
      for (size_t j = 0; j < difference.size(); ++j) difference[j] -= other[j];
      const double norm = Norm(difference);
      EXPECT_LE(norm, 2 * kClip * (1 + 1e-6));
      if (persona == other_persona) continue;
      EXPECT_LE(norm, std::sqrt(2) * kClip * (1 + 1e-6));
      largest_between = std::max(largest_between, norm);
    }
  }
  EXPECT_LE(largest, kClip * (1 + 1e-6));
  EXPECT_GT(largest, 0.99 * kClip) << "the bound is reached, or the test tries too little";
  EXPECT_GT(largest_between, 0.95 * std::sqrt(2) * kClip);
}

class PrepareContributionTest : public testing::Test {
 protected:
  PrepareContributionTest() {
    round_.layout = kLayout;
    round_.encoding = {.dimension = kLayout.dimension(),
                       .clip_norm = kClip,
                       .scale = 1000,
                       .sigma_local = 0,
                       .modulus_bits = 24,
                       .rotation_seed = Hasher().Update("rotation").Finish()};
  }
  // Sum of the encoded words of `deltas`, decoded.
  std::vector<float> RoundTrip(const std::vector<std::pair<int, CoreDelta>>& deltas) {
    std::vector<uint32_t> sum(static_cast<size_t>(round_.encoding.padded_dimension()));
    for (const auto& [persona, delta] : deltas) {
      const auto encoded = PrepareContribution(delta, persona, round_, &random_);
      EXPECT_TRUE(encoded.ok()) << encoded.status();
      EXPECT_EQ(encoded->words().size(), sum.size());
      for (size_t j = 0; j < sum.size(); ++j) {
        sum[j] = (sum[j] + encoded->words()[j]) & 0xffffff;
      }
    }
    return DecodeSum(sum, round_.encoding).value();
  }

  RoundDescription round_;
  SeededRandom random_{"pipeline", 1};
};

// Without noise the sum is exact to the rounding: each of 32 coordinates of each client moves by
// less than one unit, so the L2 error of n clients is below n * sqrt(32) units of 1/1000.
TEST_F(PrepareContributionTest, SumOfManyComesBackWithinRounding) {
  std::vector<std::pair<int, CoreDelta>> deltas;
  std::vector<float> expected(static_cast<size_t>(kLayout.dimension()));
  Rng rng(7);
  for (int client = 0; client < 8; ++client) {
    std::vector<float> values(5);
    for (float& value : values) value = static_cast<float>(rng.Normal());
    deltas.emplace_back(client % 3, DeltaOf(values));
    const auto laid_out = LayOut(deltas.back().second, client % 3, kLayout, kClip).value();
    for (size_t j = 0; j < expected.size(); ++j) expected[j] += laid_out.values()[j];
  }
  const std::vector<float> sum = RoundTrip(deltas);
  ASSERT_EQ(sum.size(), expected.size());
  double error = 0;
  for (size_t j = 0; j < sum.size(); ++j) error += std::pow(sum[j] - expected[j], 2);
  EXPECT_LE(std::sqrt(error), 8 * std::sqrt(32) / 1000);
  EXPECT_NEAR(sum[15] / kLayout.count_weight, 3, 0.05) << "clients of persona 0";
  EXPECT_NEAR(sum[17] / kLayout.count_weight, 2, 0.05) << "clients of persona 2";
}

// The standard deviation of a coordinate is sqrt(n) sigma: 8 of them are never seen by chance
// (false alarm below 20 * 1.3e-15).
TEST_F(PrepareContributionTest, NoiseIsAddedAndAveragesOut) {
  round_.encoding.sigma_local = 0.2;
  std::vector<std::pair<int, CoreDelta>> deltas;
  for (int client = 0; client < 16; ++client) deltas.emplace_back(0, DeltaOf({1, 1, 1, 1, 1}));
  const std::vector<float> sum = RoundTrip(deltas);
  double moved = 0;
  for (int j = 0; j < 5; ++j) {
    EXPECT_NEAR(sum[j], 16, 8 * 0.2 * 4 + 0.1);
    moved += std::abs(sum[j] - 16);
  }
  EXPECT_GT(moved, 0.05) << "there is noise";
}

TEST_F(PrepareContributionTest, OneClientOfHugeDeltaStaysInsideTheClipNorm) {
  const std::vector<float> sum = RoundTrip({{1, DeltaOf({1e9f, 1e9f, 1e9f, 1e9f, 1e9f})}});
  EXPECT_LE(Norm(sum), kClip + std::sqrt(32) / 1000);
  EXPECT_NEAR(sum[16], kLayout.count_weight, 0.02);
}

// What is masked is bounded in integers, too: by the norm that the accountant reckons with.
TEST_F(PrepareContributionTest, RoundedContributionsKeepToTheAccountantsNorm) {
  round_.encoding.scale = 2;  // coarse: rounding matters
  const double bound = RoundedNormBound(kClip * round_.encoding.scale, 32);
  double largest = 0;
  for (int i = 0; i < 300; ++i) {
    const auto encoded =
        PrepareContribution(DeltaOf({1e9f, -1e9f, 1e9f, 0, 1e9f}), i % 3, round_, &random_);
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    double squares = 0;
    for (const uint32_t word : encoded->words()) {
      const double value = word >= 0x800000 ? static_cast<double>(word) - 0x1000000 : word;
      squares += value * value;
    }
    largest = std::max(largest, std::sqrt(squares));
  }
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, kClip * round_.encoding.scale) << "rounding did lengthen some";
}

TEST_F(PrepareContributionTest, PassesRefusalsOn) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(PrepareContribution(DeltaOf({1}), 0, round_, &random_).status()));
  round_.encoding.dimension = 7;
  EXPECT_TRUE(absl::IsInvalidArgument(
      PrepareContribution(DeltaOf({1, 1, 1, 1, 1}), 0, round_, &random_).status()));
}

}  // namespace
}  // namespace lorikeet
