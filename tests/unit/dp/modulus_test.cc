#include "common/dp/modulus.h"

#include <cmath>

#include "common/dp/accountant.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

EncodingParameters Parameters(double scale) {
  EncodingParameters p{
      .dimension = 1024, .clip_norm = 1, .scale = scale, .sigma_local = .1, .modulus_bits = 12};
  return p;
}

// Against a plain simulation of the worst case, with a modulus small enough to overflow often.
TEST(OverflowTest, BoundLiesAboveWhatHappens) {
  const int clients = 8, rounds = 40;
  for (const NoiseKind noise : {NoiseKind::kSkellam, NoiseKind::kDiscreteGaussian}) {
    EncodingParameters p{
        .dimension = 256, .clip_norm = 1, .scale = 150, .sigma_local = .25, .modulus_bits = 9};
    p.noise = noise;
    const OverflowBound bound = SumOverflow(p, clients).value();
    ASSERT_LT(bound.coordinate, 0.5);
    EXPECT_EQ(bound.any, 1);
    EncodingParameters wide = p;
    wide.modulus_bits = 24;
    SeededRandom random("overflow", 1);
    std::vector<float> values(p.dimension, 0.0f);
    values[3] = 1;
    const ClippedDelta delta = Clip(values, 1).value();
    int wrapped = 0;
    for (int round = 0; round < rounds; ++round) {
      wide.rotation_seed[0] = static_cast<uint8_t>(round);
      std::vector<uint32_t> sum(p.dimension, 0);
      for (int client = 0; client < clients; ++client) {
        const EncodedDelta encoded = Encode(delta, wide, &random).value();
        for (size_t i = 0; i < sum.size(); ++i) sum[i] = (sum[i] + encoded.words()[i]) & 0xffffff;
      }
      for (uint32_t word : sum) {
        const int value =
            word >= 1u << 23 ? static_cast<int>(word) - (1 << 24) : static_cast<int>(word);
        wrapped += value >= 256 || value < -256 ? 1 : 0;
      }
    }
    EXPECT_GT(wrapped, 0);
    EXPECT_LE(wrapped, bound.coordinate * static_cast<double>(p.dimension * rounds));
  }
}

TEST(OverflowTest, FallsWithEveryBit) {
  EncodingParameters p = Parameters(100);
  double last = 1;
  for (p.modulus_bits = 12; p.modulus_bits <= 14; ++p.modulus_bits) {
    const OverflowBound bound = SumOverflow(p, 100).value();
    EXPECT_LT(bound.coordinate, last);
    EXPECT_NEAR(bound.any, std::min(1.0, 1024 * bound.coordinate), 1e-12);
    last = bound.coordinate;
  }
  EXPECT_LT(last, 1e-100);
  p.modulus_bits = 8;  // less than the rounding of so many
  EXPECT_EQ(SumOverflow(p, 1000)->coordinate, 1);
  EXPECT_FALSE(SumOverflow(p, 0).ok());
}

TEST(ScaleForBitsTest, IsTheLargestThatNeedsNoMore) {
  for (const int bits : {10, 14, 20}) {
    EncodingParameters p = Parameters(0);
    p.scale = ScaleForBits(p, 100, bits).value();
    EXPECT_EQ(RequiredModulusBits(p, 100).value(), bits);
    p.scale *= 1.0001;
    EXPECT_EQ(RequiredModulusBits(p, 100).value(), bits + 1);
  }
  EXPECT_FALSE(ScaleForBits(Parameters(0), 100000, 8).ok());
}

TEST(FewestBitsTest, OneBitLessIsOverBudget) {
  const BitsRequest request{
      .clients = 100, .honest_survivors = 100, .rounds = 1, .epsilon = 5.4, .delta = 1e-6};
  const EncodingParameters fewest = FewestBits(Parameters(0), request).value();
  EXPECT_LE(RoundEpsilon(fewest, 100, 1, 1e-6).value(), 5.4);
  EncodingParameters less = fewest;
  less.scale = ScaleForBits(fewest, 100, fewest.modulus_bits - 1).value();
  EXPECT_GT(RoundEpsilon(less, 100, 1, 1e-6).value(), 5.4);
  BitsRequest impossible = request;
  impossible.epsilon = 4;  // the Gaussian of this noise has more
  EXPECT_EQ(FewestBits(Parameters(0), impossible).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
