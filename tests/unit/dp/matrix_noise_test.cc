#include "common/dp/matrix_noise.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// Values computed with Google's mf_dpftrl_matrices.
TEST(MatrixSensitivityTest, PublishedValues) {
  EXPECT_NEAR(MatrixSensitivity({.steps = 64}), 1.545589890, 1e-9);
  EXPECT_NEAR(MatrixSensitivity({.steps = 1000}), 1.806931952, 1e-9);
}

double NormOf(const std::vector<double>& c, const std::vector<int64_t>& starts) {
  double squares = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(c.size()); ++i) {
    double sum = 0;
    for (const int64_t start : starts) sum += i >= start ? c[i - start] : 0;
    squares += sum * sum;
  }
  return std::sqrt(squares);
}

// The largest norm over every pattern of participation.
double WorstPattern(const std::vector<double>& c, const MatrixShape& s,
                    std::vector<int64_t>* starts) {
  double worst = starts->empty() ? 0 : NormOf(c, *starts);
  if (static_cast<int64_t>(starts->size()) == ParticipationsOf(s)) return worst;
  const int64_t from = starts->empty() ? 0 : starts->back() + s.separation;
  for (int64_t start = from; start < s.steps; ++start) {
    starts->push_back(start);
    worst = std::max(worst, WorstPattern(c, s, starts));
    starts->pop_back();
  }
  return worst;
}

TEST(MatrixSensitivityTest, IsTheWorstOfAllPatterns) {
  for (const MatrixShape& shape :
       {MatrixShape{9, 1, 1, 0}, MatrixShape{9, 3, 0, 0}, MatrixShape{12, 4, 2, 0},
        MatrixShape{12, 4, 0, 4}, MatrixShape{12, 2, 0, 7}, MatrixShape{7, 1, 0, 0}}) {
    std::vector<int64_t> starts;
    EXPECT_NEAR(MatrixSensitivity(shape), WorstPattern(MatrixCoefficients(shape), shape, &starts),
                1e-12)
        << shape.steps << " " << shape.separation << " " << shape.bands;
  }
  // Bands within the separation: contributions do not overlap.
  const MatrixShape once{.steps = 40, .separation = 1, .participations = 1, .bands = 10};
  const MatrixShape four{.steps = 40, .separation = 10, .participations = 0, .bands = 10};
  EXPECT_NEAR(MatrixSensitivity(four), 2 * MatrixSensitivity(once), 1e-12);
}

TEST(MatrixCoefficientsTest, InverseTimesMatrixIsOneAndSquareIsPrefixSum) {
  for (const int64_t bands : {0, 5}) {
    const MatrixShape shape{.steps = 50, .bands = bands};
    const auto c = MatrixCoefficients(shape), inverse = InverseCoefficients(shape);
    for (int64_t i = 0; i < shape.steps; ++i) {
      double product = 0, square = 0;
      for (int64_t j = 0; j <= i; ++j) {
        product += c[j] * inverse[i - j];
        square += c[j] * c[i - j];
      }
      EXPECT_NEAR(product, i == 0 ? 1 : 0, 1e-12);
      if (bands == 0) {
        EXPECT_NEAR(square, 1, 1e-12);
      }
    }
  }
}

TEST(PrefixErrorTest, CorrelationPays) {
  const PrefixError one = PrefixErrorOf({.steps = 1});
  EXPECT_NEAR(one.correlated, 1, 1e-12);
  EXPECT_NEAR(one.independent, 1, 1e-12);
  const PrefixError error = PrefixErrorOf({.steps = 1000});
  EXPECT_LT(error.correlated, error.independent / 6);
}

TEST(BestBandsTest, NoiseIsNeverWorseThanIndependent) {
  for (const MatrixShape& shape :
       {MatrixShape{1, 1, 0, 0}, MatrixShape{10, 1, 0, 0}, MatrixShape{10, 3, 0, 0},
        MatrixShape{100, 1, 0, 0}, MatrixShape{100, 25, 0, 0}, MatrixShape{1000, 10, 7, 0}}) {
    MatrixShape best = shape;
    best.bands = BestBands(shape);
    const PrefixError error = PrefixErrorOf(best);
    EXPECT_LE(error.correlated, error.independent * (1 + 1e-12)) << shape.steps;
    EXPECT_LE(error.correlated, PrefixErrorOf(shape).correlated);
  }
  // All rounds one after the other: nothing to be gained, and nothing lost.  Without the cut the
  // same noise is worse by two thirds.
  const MatrixShape every{.steps = 100, .separation = 1, .participations = 0};
  EXPECT_EQ(BestBands(every), 1);
  EXPECT_GT(PrefixErrorOf(every).correlated, 1.6 * PrefixErrorOf(every).independent);
  // Once only: most of the matrix.
  EXPECT_EQ(BestBands({.steps = 100, .separation = 1, .participations = 1}), 64);
  EXPECT_EQ(BestBands({.steps = 100, .separation = 25, .participations = 0}), 25);
  EXPECT_GE(BestBands({.steps = 100000, .separation = 1000, .participations = 0}), 0);  // in time
}

CorrelatedNoise Make(int64_t steps, int64_t dimension) {
  CorrelatedNoise::Options options{
      .shape = {.steps = steps}, .deviation = 2, .dimension = dimension, .seed = {}};
  options.seed[0] = 7;
  return CorrelatedNoise::Create(options).value();
}

// C times what comes out must be independent normal variables again.
TEST(CorrelatedNoiseTest, MatrixTimesNoiseIsIndependent) {
  const int64_t steps = 8, dimension = 20001;
  CorrelatedNoise noise = Make(steps, dimension);
  const auto c = MatrixCoefficients({.steps = steps});
  std::vector<std::vector<double>> made, whitened;
  for (int64_t t = 0; t < steps; ++t) {
    made.push_back(noise.Next().value());
    whitened.emplace_back(dimension, 0.0);
    for (int64_t j = 0; j <= t; ++j)
      for (int64_t i = 0; i < dimension; ++i) whitened[t][i] += c[j] * made[t - j][i];
  }
  // 6.5 standard errors: false alarm below 36 x 1e-10.
  const double n = static_cast<double>(dimension);
  for (int64_t a = 0; a < steps; ++a) {
    for (int64_t b = a; b < steps; ++b) {
      double product = 0;
      for (int64_t i = 0; i < dimension; ++i) product += whitened[a][i] * whitened[b][i];
      EXPECT_NEAR(product / n, a == b ? 4 : 0, 6.5 * 4 * std::sqrt((a == b ? 2 : 1) / n));
    }
  }
  EXPECT_EQ(noise.Next().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(CorrelatedNoiseTest, GoesOnAfterARestartAsIfNothingHappened) {
  CorrelatedNoise whole = Make(6, 5), first = Make(6, 5);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(whole.Next().value(), first.Next().value());
  }
  CorrelatedNoise second = CorrelatedNoise::Restore(first.Serialize()).value();
  EXPECT_EQ(second.step(), 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(whole.Next().value(), second.Next().value());
  }
  EXPECT_FALSE(second.Next().ok());
}

TEST(CorrelatedNoiseTest, SkippingAStepChangesNoLaterNoise) {
  CorrelatedNoise whole = Make(5, 7), skipped = Make(5, 7);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(whole.Next().ok());
    ASSERT_TRUE(skipped.Skip().ok());
  }
  EXPECT_EQ(whole.Next().value(), skipped.Next().value());
  EXPECT_TRUE(skipped.Skip().ok());
  EXPECT_EQ(skipped.Skip().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(CorrelatedNoiseTest, TheSeedGoesWithTheLastStep) {
  CorrelatedNoise noise = Make(2, 3);  // its seed starts with a 7
  const size_t seed_at = noise.Serialize().size() - 32;
  ASSERT_TRUE(noise.Next().ok());
  EXPECT_EQ(noise.Serialize()[seed_at], 7);
  ASSERT_TRUE(noise.Next().ok());
  EXPECT_EQ(noise.Serialize().substr(seed_at), std::string(32, '\0'));
  EXPECT_FALSE(CorrelatedNoise::Restore(noise.Serialize())->Next().ok());
}

TEST(StepDeviationTest, IsTheRowNormOfTheInverse) {
  const MatrixShape shape{.steps = 6};
  EXPECT_DOUBLE_EQ(StepDeviation(shape, 0), 1);
  EXPECT_DOUBLE_EQ(StepDeviation(shape, 1), std::sqrt(1 + 0.25));
  EXPECT_DOUBLE_EQ(StepDeviation(shape, 2), std::sqrt(1 + 0.25 + 1.0 / 64));
  // The series of squared binomial coefficients of one half: 4 / pi.
  EXPECT_NEAR(StepDeviation({.steps = 100000}, 99999), std::sqrt(4 / std::numbers::pi), 1e-9);
}

TEST(CorrelatedNoiseTest, RefusesBadOptionsAndStates) {
  EXPECT_FALSE(ValidateMatrixShape({.steps = 0}).ok());
  EXPECT_FALSE(ValidateMatrixShape({.steps = 5, .separation = 6}).ok());
  EXPECT_FALSE(ValidateMatrixShape({.steps = 5, .separation = 2, .participations = 4}).ok());
  EXPECT_FALSE(ValidateMatrixShape({.steps = 5, .bands = 6}).ok());
  const CorrelatedNoise::Options good{
      .shape = {.steps = 5}, .deviation = 1, .dimension = 1, .seed = {}};
  CorrelatedNoise::Options bad = good;
  bad.deviation = 0;
  EXPECT_FALSE(CorrelatedNoise::Create(bad).ok());
  bad = good;
  bad.dimension = 0;
  EXPECT_FALSE(CorrelatedNoise::Create(bad).ok());
  const std::string state = CorrelatedNoise::Create(good)->Serialize();
  for (size_t size = 0; size < state.size(); ++size)
    EXPECT_FALSE(CorrelatedNoise::Restore(std::string_view(state).substr(0, size)).ok());
  std::string later = state;
  later[6 * 8] = 6;  // a step beyond the last
  EXPECT_EQ(CorrelatedNoise::Restore(later).status().code(), absl::StatusCode::kDataLoss);
  std::string other = state;
  other[0] = 9;
  EXPECT_FALSE(CorrelatedNoise::Restore(other).ok());
}

}  // namespace
}  // namespace lorikeet
