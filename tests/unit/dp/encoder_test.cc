#include "common/dp/encoder.h"

#include <algorithm>
#include <cmath>

#include "common/dp/rotation.h"
#include "common/dp/skellam.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

std::vector<float> RandomVector(int64_t dimension, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(dimension);
  for (float& value : values) value = static_cast<float>(rng.Normal());
  return values;
}

double Norm(std::span<const float> values) {
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

TEST(ClipTest, BoundsTheNormAndRefusesNonFiniteValues) {
  const ClippedDelta cut = Clip(RandomVector(1000, 1), 0.5).value();
  EXPECT_LE(Norm(cut.values()), 0.5);
  EXPECT_GT(Norm(cut.values()), 0.4999);
  EXPECT_LT(cut.clip_factor(), 1);
  const ClippedDelta whole = Clip({0.1f, -0.2f}, 0.5).value();
  EXPECT_EQ(whole.clip_factor(), 1);
  EXPECT_EQ(whole.values()[1], -0.2f);
  EXPECT_FALSE(Clip({1.0f, NAN}, 1).ok());
  EXPECT_FALSE(Clip({INFINITY}, 1).ok());
  EXPECT_FALSE(Clip({1.0f}, 0).ok());
  EXPECT_EQ(Clip(std::vector<float>(5, 0.0f), 1)->clip_factor(), 1);
}

TEST(RotationTest, IsOrthonormalAndFlattens) {
  std::vector<double> values(1024, 0.0);
  values[17] = 1;
  const std::vector<double> before = values;
  Rotate(values, Hash256{1});
  for (double value : values) EXPECT_NEAR(std::abs(value), 1.0 / 32, 1e-12);
  InverseRotate(values, Hash256{1});
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], before[i], 1e-12);
}

TEST(EncodeTest, SumOfManyDecodesToTheRealSum) {
  for (int64_t dimension : {1, 2, 100, 1000}) {
    EncodingParameters p{.dimension = dimension,
                         .clip_norm = 2,
                         .scale = 5000,
                         .sigma_local = 0,
                         .modulus_bits = 32};
    p.rotation_seed[0] = 9;
    const int clients = 20;
    p.modulus_bits = RequiredModulusBits(p, clients).value();
    SeededRandom random("encode", dimension);
    const uint32_t mask = ~uint32_t{0} >> (32 - p.modulus_bits);
    std::vector<uint32_t> sum(p.padded_dimension(), 0);
    std::vector<double> expected(dimension, 0);
    for (int client = 0; client < clients; ++client) {
      const ClippedDelta delta = Clip(RandomVector(dimension, client), 2).value();
      const EncodedDelta encoded = Encode(delta, p, &random).value();
      for (size_t i = 0; i < sum.size(); ++i) sum[i] = (sum[i] + encoded.words()[i]) & mask;
      for (int64_t i = 0; i < dimension; ++i) expected[i] += delta.values()[i];
    }
    const std::vector<float> decoded = DecodeSum(sum, p).value();
    // Rounding error of a coordinate: variance at most clients / (4 s^2) after rotation; 8
    // deviations.
    for (int64_t i = 0; i < dimension; ++i)
      EXPECT_NEAR(decoded[i], expected[i], 8 * std::sqrt(20.0) / 2 / 5000 + 1e-6);
  }
}

TEST(EncodeTest, NoiseHasTheVarianceAskedFor) {
  for (const NoiseKind noise : {NoiseKind::kSkellam, NoiseKind::kDiscreteGaussian}) {
    EncodingParameters p{
        .dimension = 1 << 16, .clip_norm = 1, .scale = 100, .sigma_local = .5, .modulus_bits = 20};
    p.noise = noise;
    SeededRandom random("noise", 1);
    const EncodedDelta encoded =
        Encode(Clip(std::vector<float>(p.dimension, 0.0f), 1).value(), p, &random).value();
    double sum = 0, squares = 0;
    for (uint32_t word : encoded.words()) {
      const double value = word >= 1u << 19 ? static_cast<double>(word) - (1 << 20) : word;
      sum += value;
      squares += value * value;
    }
    const double n = static_cast<double>(p.dimension);
    // Variance 2500; both bounds are 6.5 standard errors: false alarm below 1e-9.
    EXPECT_LT(std::abs(sum / n), 6.5 * 50 / std::sqrt(n));
    EXPECT_NEAR(squares / n, 2500, 6.5 * 2500 * std::sqrt(2 / n));
  }
}

TEST(NoiseKindTest, NamesRoundTrip) {
  for (const NoiseKind noise : {NoiseKind::kSkellam, NoiseKind::kDiscreteGaussian}) {
    EXPECT_EQ(ParseNoiseKind(NoiseKindName(noise)).value(), noise);
  }
  EXPECT_FALSE(ParseNoiseKind("gaussian").ok());
}

TEST(EncodeTest, RefusesParametersOutOfRange) {
  SeededRandom random("bad", 1);
  const ClippedDelta delta = Clip({1.0f, 0.0f}, 1).value();
  const EncodingParameters good{
      .dimension = 2, .clip_norm = 1, .scale = 10, .sigma_local = 0, .modulus_bits = 16};
  EXPECT_TRUE(Encode(delta, good, &random).ok());
  const auto fails = [&](auto change) {
    EncodingParameters bad = good;
    change(bad);
    return Encode(delta, bad, &random).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.dimension = 3; }));
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.dimension = 0; }));
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.clip_norm = 0.5; }));
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.scale = 0; }));
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.scale = NAN; }));
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.sigma_local = -1; }));
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.sigma_local = 1e9; }));
  EXPECT_TRUE(fails([](EncodingParameters& p) { p.modulus_bits = 33; }));
  EXPECT_FALSE(DecodeSum(std::vector<uint32_t>(3), good).ok());
  EXPECT_FALSE(DecodeSum(std::vector<uint32_t>(2, 1u << 16), good).ok());
}

TEST(RequiredModulusBitsTest, FollowsTheFormula) {
  const EncodingParameters p{
      .dimension = 1024, .clip_norm = 1, .scale = 100, .sigma_local = .1, .modulus_bits = 8};
  // 8 sqrt(100^2 / 1024 + 100 (1 / 40000 + 0.01)) 100 = 2625
  EXPECT_EQ(RequiredModulusBits(p, 100).value(), 12);
  EXPECT_EQ(RequiredModulusBits(p, 1).value(), 8);
  EXPECT_FALSE(RequiredModulusBits(p, 0).ok());
  EncodingParameters large = p;
  large.scale = 1e9;
  EXPECT_FALSE(RequiredModulusBits(large, 100).ok());
}

// Pearson's chi-squared of samples against exact probabilities.
TEST(PoissonSamplerTest, MatchesTheDistribution) {
  for (double mean : {0.001, 0.7, 3.0, 40.0}) {
    const PoissonSampler sampler = PoissonSampler::Create(mean).value();
    SeededRandom random("poisson", 1);
    const int samples = 200000;
    std::vector<int> counts(200, 0);
    for (int i = 0; i < samples; ++i) ++counts[std::min<uint64_t>(sampler.Sample(&random), 199)];
    double chi = 0, probability = 0, expected_rest = samples, observed_rest = samples;
    int cells = 0;
    for (int k = 0; k < 200; ++k) {
      probability = std::exp(k * std::log(mean) - mean - std::lgamma(k + 1.0));
      const double expected = samples * probability;
      if (expected < 20) continue;
      chi += (counts[k] - expected) * (counts[k] - expected) / expected;
      expected_rest -= expected;
      observed_rest -= counts[k];
      ++cells;
    }
    if (expected_rest > 20)
      chi += (observed_rest - expected_rest) * (observed_rest - expected_rest) / expected_rest;
    // Beyond cells + 9 sqrt(2 cells) + 40 with probability far below 1e-8 for up to 60 cells.
    EXPECT_LT(chi, cells + 9 * std::sqrt(2.0 * cells) + 40) << mean;
  }
}

// What decodes is the true sum and the noise, turned back: but for the grid.
TEST(AddToSumTest, DecodesToTheSumAndTheNoise) {
  EncodingParameters p{.dimension = 5, .clip_norm = 1, .scale = 1000, .modulus_bits = 16};
  p.rotation_seed[0] = 3;
  std::vector<uint32_t> words(8);
  const std::vector<float> before = DecodeSum(words, p).value();
  const std::vector<double> noise = {0.5, -1.25, 2, 0, -0.75, 1, -1, 0.25};
  ASSERT_TRUE(AddToSum(noise, p, words).ok());
  const std::vector<float> after = DecodeSum(words, p).value();
  // Rounding moves 8 turned numbers by half a unit at most, one of the turned-back ones by no more
  // than their norm.
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(after[i] - before[i], noise[i], std::sqrt(8.0) / 2000);
}

// The modulus is taken after the noise: a sum that wraps around by itself is no special case, which
// would tell more of a contribution than its norm does.
TEST(AddToSumTest, TheModulusIsTakenAfterTheNoise) {
  const EncodingParameters p{.dimension = 1, .clip_norm = 1, .scale = 1, .modulus_bits = 8};
  for (const int sum : {120, 130, 200}) {  // 127 is the largest that a sum modulo 2^8 can be
    const double sign = DecodeSum(std::vector<uint32_t>{1}, p)->front();  // of the only rotation
    std::vector<uint32_t> words = {static_cast<uint32_t>(sum) & 255};
    ASSERT_TRUE(AddToSum({sign * -90.3}, p, words).ok());
    EXPECT_EQ(words[0], static_cast<uint32_t>(sum - 90)) << sum;
  }
  std::vector<uint32_t> words = {7};
  ASSERT_TRUE(AddToSum({256.0 * 1e12}, p, words).ok());  // whole turns, however many
  EXPECT_EQ(words[0], 7u);
}

TEST(AddToSumTest, RefusesOtherLengths) {
  const EncodingParameters p{.dimension = 3, .clip_norm = 1, .scale = 1, .modulus_bits = 8};
  std::vector<uint32_t> three(3), four(4);
  EXPECT_EQ(AddToSum({1, 2, 3}, p, four).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(AddToSum({1, 2, 3, 4}, p, three).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(AddToSum({1, 2, 3, 4}, p, four).ok());
}

TEST(SkellamSamplerTest, LargeVariancesAndLimits) {
  for (double variance : {1e-3, 1.0, 1e6, 0x1p23}) {
    const SkellamSampler sampler = SkellamSampler::Create(variance).value();
    SeededRandom random("skellam", 2);
    const int samples = 20000;
    double sum = 0, squares = 0;
    for (int i = 0; i < samples; ++i) {
      const double value = static_cast<double>(sampler.Sample(&random));
      sum += value;
      squares += value * value;
    }
    // Kurtosis 3 + 1 / variance; 6.5 standard errors, false alarm below 1e-9 (tails heavier at the
    // smallest: 12).
    const double errors = variance < 1 ? 12 : 6.5;
    EXPECT_LT(std::abs(sum / samples), errors * std::sqrt(variance / samples));
    EXPECT_NEAR(squares / samples, variance,
                errors * std::sqrt((2 * variance * variance + variance) / samples));
  }
  EXPECT_FALSE(SkellamSampler::Create(0).ok());
  EXPECT_FALSE(SkellamSampler::Create(1e12).ok());
  EXPECT_FALSE(SkellamSampler::Create(NAN).ok());
}

}  // namespace
}  // namespace lorikeet
