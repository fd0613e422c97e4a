#include "common/dp/discrete_gaussian.h"

#include <cmath>
#include <cstdlib>

#include "common/base/random.h"
#include "gtest/gtest.h"
#include "tests/unit/dp/chi_squared.h"

namespace lorikeet {
namespace {

TEST(BernoulliExpTest, HasTheProbabilityAskedFor) {
  const std::pair<uint64_t, uint64_t> rows[] = {{0, 1}, {1, 7}, {1, 1}, {5, 2}, {6, 1}};
  for (const auto& [numerator, denominator] : rows) {
    SeededRandom random("bernoulli", numerator);
    const int samples = 100000;
    int hits = 0;
    for (int i = 0; i < samples; ++i)
      hits += SampleBernoulliExp(numerator, denominator, &random) ? 1 : 0;
    const double p = std::exp(-static_cast<double>(numerator) / static_cast<double>(denominator));
    // Bernstein's inequality: false alarm below 2 e^-20 < 1e-8.
    EXPECT_NEAR(hits, samples * p, std::sqrt(2 * samples * p * (1 - p) * 20) + 20 * 2 / 3.0 + 1e-9);
    if (numerator == 0) {
      EXPECT_EQ(hits, samples);
    }
  }
}

TEST(DiscreteLaplaceTest, MatchesTheDistribution) {
  for (const uint64_t scale : {1u, 3u, 20u}) {
    SeededRandom random("laplace", scale);
    const double ratio = std::exp(-1.0 / static_cast<double>(scale));
    const ChiSquared chi = CompareSamples(
        [&] { return SampleDiscreteLaplace(scale, &random); },
        [&](int64_t k) {
          return (1 - ratio) / (1 + ratio) * std::pow(ratio, static_cast<double>(std::abs(k)));
        },
        100000, 300);
    EXPECT_LT(chi.statistic, chi.limit()) << scale;
    EXPECT_GT(chi.cells, 5);
  }
}

TEST(DiscreteGaussianTest, MatchesTheDistribution) {
  for (const double square : {0.2, 0.5, 1.0, 7.3, 900.0}) {
    const DiscreteGaussianSampler sampler = DiscreteGaussianSampler::Create(square).value();
    SeededRandom random("discrete gaussian", 1);
    double sum = 0;
    for (int64_t k = -400; k <= 400; ++k)
      sum += std::exp(-static_cast<double>(k * k) / (2 * square));
    const ChiSquared chi = CompareSamples(
        [&] { return sampler.Sample(&random); },
        [&](int64_t k) { return std::exp(-static_cast<double>(k * k) / (2 * square)) / sum; },
        60000, 400);
    EXPECT_LT(chi.statistic, chi.limit()) << square;
    EXPECT_GT(chi.cells, 1);
  }
}

// The test above has the power to see a wrong variance: 5 % more is far beyond its limit.
TEST(DiscreteGaussianTest, ChiSquaredSeesAWrongVariance) {
  const DiscreteGaussianSampler sampler = DiscreteGaussianSampler::Create(7.3 * 1.05).value();
  SeededRandom random("discrete gaussian", 2);
  double sum = 0;
  for (int64_t k = -40; k <= 40; ++k) sum += std::exp(-static_cast<double>(k * k) / 14.6);
  const ChiSquared chi = CompareSamples(
      [&] { return sampler.Sample(&random); },
      [&](int64_t k) { return std::exp(-static_cast<double>(k * k) / 14.6) / sum; }, 100000, 40);
  EXPECT_GT(chi.statistic, chi.limit());
}

TEST(DiscreteGaussianTest, LargeVariancesAndLimits) {
  for (const double square : {1e6, 0x1p29}) {
    const DiscreteGaussianSampler sampler = DiscreteGaussianSampler::Create(square).value();
    SeededRandom random("discrete gaussian", 3);
    const int samples = 20000;
    double sum = 0, squares = 0;
    for (int i = 0; i < samples; ++i) {
      const double value = static_cast<double>(sampler.Sample(&random));
      sum += value;
      squares += value * value;
    }
    // 6.5 standard errors: false alarm below 1e-9.
    EXPECT_LT(std::abs(sum / samples), 6.5 * std::sqrt(square / samples));
    EXPECT_NEAR(squares / samples, square, 6.5 * square * std::sqrt(2.0 / samples));
  }
  EXPECT_FALSE(DiscreteGaussianSampler::Create(0).ok());
  EXPECT_FALSE(DiscreteGaussianSampler::Create(-1).ok());
  EXPECT_FALSE(DiscreteGaussianSampler::Create(0x1p30).ok());
  EXPECT_FALSE(DiscreteGaussianSampler::Create(NAN).ok());
}

}  // namespace
}  // namespace lorikeet
