#include "common/dp/accountant.h"

#include <cmath>

#include "common/dp/ledger.h"
#include "common/dp/loss_distribution.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

double RdpEpsilon(double sigma, double q, int64_t steps, double delta) {
  return EpsilonFromRdp(GaussianRdp(sigma, q, steps).value(), delta)->epsilon;
}

// Values computed with Google's dp-accounting.
TEST(GaussianTest, ExactEpsilon) {
  EXPECT_NEAR(GaussianEpsilon(1, 1, 1e-5).value(), 4.377178096, 1e-9);
  EXPECT_NEAR(GaussianEpsilon(4, 1, 1e-5).value(), 0.926341504, 1e-9);
  EXPECT_NEAR(GaussianEpsilon(5, 30, 1e-6).value(), 5.422511402, 1e-9);
  EXPECT_NEAR(GaussianEpsilon(1 / std::sqrt(0.3), 1, 1e-10).value(), 3.415701907,
              1e-9);  // zCDP 0.15
  EXPECT_NEAR(GaussianDelta(std::sqrt(3.0), 3, 1), 0.126936, 1e-6);
  EXPECT_EQ(GaussianEpsilon(1000, 1, 0.1).value(), 0);
}

TEST(GaussianTest, RdpEpsilon) {
  EXPECT_NEAR(RdpEpsilon(1, 1, 1, 1e-5), 4.728507067, 1e-9);
  EXPECT_NEAR(RdpEpsilon(4, 1, 1, 1e-5), 1.012550628, 1e-9);
  EXPECT_NEAR(RdpEpsilon(5, 1, 30, 1e-6), 5.790609852, 1e-9);
  EXPECT_NEAR(RdpEpsilon(1, .01, 1000, 1e-5), 2.101366525, 1e-8);
  EXPECT_NEAR(RdpEpsilon(1.5, .04, 2250, 1e-5), 7.32911117143, 1e-9);  // Opacus
}

// Unit test of dp-accounting: 50 steps at q = .01, z = 2.5.  At order 1.5 its bound is
// 6.70579741e-4; the exact value, by quadrature, is 6.50070893e-4.
TEST(GaussianTest, SampledRdpAtOrders) {
  const std::pair<double, double> rows[] = {{1.5, 6.70579741e-4},
                                            {2.5, 1.08548710e-3},
                                            {5, 2.18075656e-3},
                                            {50, 2.38460375e-2},
                                            {100, 167.416308}};
  for (const auto& [order, expected] : rows) {
    EXPECT_NEAR(50 * SampledGaussianRdpBound(2.5, .01, order), expected, 1e-8 * expected) << order;
    EXPECT_LE(50 * SampledGaussianRdp(2.5, .01, order), expected * (1 + 1e-8)) << order;
  }
  EXPECT_NEAR(50 * SampledGaussianRdp(2.5, .01, 1.5), 6.50070893e-4, 1e-11);
}

// For q -> 0 the moment's excess is q^2 (e^(1 / sigma^2) - 1) order (order - 1) / 2 + O(q^3): a
// value of 1e-14 must keep its digits, at fractional orders as an upper bound.
TEST(GaussianTest, SampledRdpKeepsItsDigitsWhereMomentsAreNearOne) {
  const double q = 1e-6, sigma = 100;
  const double per_order = q * q * std::expm1(1 / (sigma * sigma)) / 2;
  for (double order : {2.0, 3.0, 10.0, 63.0}) {
    EXPECT_NEAR(SampledGaussianRdp(sigma, q, order), order * per_order, 1e-3 * order * per_order);
  }
  for (double order : {1.1, 1.9, 2.5, 10.5}) {
    const double value = SampledGaussianRdp(sigma, q, order);
    EXPECT_GE(value, order * per_order * (1 - 1e-6));
    EXPECT_LE(value, (std::floor(order) + 1) * per_order * (1 + 1e-3));
  }
}

// rho = .15, delta = 1e-10: production quotes 3.42, that of the Gaussian.
TEST(ZcdpTest, BothConversions) {
  EXPECT_NEAR(GaussianZcdp(1 / std::sqrt(0.3), 1), 0.15, 1e-15);
  EXPECT_NEAR(GaussianZcdp(5, 30), 0.6, 1e-15);
  EXPECT_NEAR(GaussianEpsilon(1 / std::sqrt(0.3), 1, 1e-10).value(), 3.415701907, 1e-9);
  EXPECT_NEAR(ZcdpEpsilon(0.15, 1e-10).value(), 3.573775, 5e-7);
  for (double rho : {1e-6, 1e-3, 0.5, 10.0, 1e4}) {
    const double sigma = 1 / std::sqrt(2 * rho);
    EXPECT_LE(ZcdpEpsilon(rho, 1e-6).value(), RdpEpsilon(sigma, 1, 1, 1e-6) + 1e-9) << rho;
    EXPECT_GE(ZcdpEpsilon(rho, 1e-6).value(), GaussianEpsilon(sigma, 1, 1e-6).value()) << rho;
  }
  EXPECT_EQ(ZcdpEpsilon(1e-9, 1e-2).value(), 0);
  EXPECT_FALSE(ZcdpEpsilon(0, 1e-6).ok());
  EXPECT_FALSE(ZcdpEpsilon(1, 0).ok());
}

TEST(CalibrateTest, LargestClip) {
  const auto epsilon_of = [](double clip) { return GaussianEpsilon(2 / clip, 1, 1e-6); };
  const double clip = CalibrateClip(1, epsilon_of).value();
  EXPECT_NEAR(clip, 2 / 4.224678889, 1e-8);
  EXPECT_LE(epsilon_of(clip).value(), 1);
}

TEST(GaussianTest, SmallestSigma) {
  const auto sigma = [](double epsilon) {
    return CalibrateNoise(epsilon, [](double z) { return GaussianEpsilon(z, 1, 1e-6); }).value();
  };
  EXPECT_NEAR(sigma(1), 4.224678889, 1e-8);
  EXPECT_NEAR(sigma(4), 1.193518587, 1e-8);
}

// Values computed with google-research/federated distributed_dp.
TEST(DistributedTest, SkellamAndDiscreteGaussianEpsilon) {
  const DistributedMechanism one{
      .scale = 100, .sigma_local = .1, .clients = 100, .clip_norm = 1, .dimension = 1024};
  EXPECT_NEAR(EpsilonFromRdp(DiscreteGaussianRdp(one).value(), 1e-6)->epsilon, 5.334028661, 1e-8);
  EXPECT_NEAR(EpsilonFromRdp(SkellamRdp(one).value(), 1e-6)->epsilon, 5.334362776, 1e-8);
  const DistributedMechanism many{.scale = 1000,
                                  .sigma_local = .03,
                                  .clients = 1000,
                                  .clip_norm = 1,
                                  .dimension = 65536,
                                  .sampling_rate = .01,
                                  .steps = 1000};
  EXPECT_NEAR(EpsilonFromRdp(DiscreteGaussianRdp(many).value(), 1e-6)->epsilon, 3.286888663, 1e-8);
  EXPECT_NEAR(EpsilonFromRdp(SkellamRdp(many).value(), 1e-6)->epsilon, 3.286892609, 1e-8);
}

TEST(DistributedTest, RoundedNormBound) {
  EXPECT_NEAR(RoundedNormBound(10, 1024), 19.544820286, 1e-9);
  EXPECT_NEAR(RoundedNormBound(1000, 1 << 20), 1124.124548260, 1e-8);
}

TEST(DistributedTest, RoundEpsilonIsOfTheStatedNoiseOnThePaddedDimension) {
  EncodingParameters encoding{
      .dimension = 1000, .clip_norm = 1, .scale = 100, .sigma_local = .1, .modulus_bits = 16};
  EXPECT_NEAR(RoundEpsilon(encoding, 100, 1, 1e-6).value(), 5.334362776, 1e-8);
  encoding.noise = NoiseKind::kDiscreteGaussian;
  EXPECT_NEAR(RoundEpsilon(encoding, 100, 1, 1e-6).value(), 5.334028661, 1e-8);
  encoding.noise = NoiseKind::kSkellam;
  EXPECT_GT(RoundEpsilon(encoding, 100, 2, 1e-6).value(), 5.4);
  EXPECT_GT(RoundEpsilon(encoding, 99, 1, 1e-6).value(), 5.34);
  const double sigma = CalibrateSigmaLocal(encoding, 100, 1, 5.334362776, 1e-6).value();
  EXPECT_NEAR(sigma, .1, 1e-8);
  encoding.sigma_local = 0;
  EXPECT_TRUE(std::isinf(RoundEpsilon(encoding, 100, 1, 1e-6).value()));
  encoding.sigma_local = -1;
  EXPECT_FALSE(RoundEpsilon(encoding, 100, 1, 1e-6).ok());
}

// epsilon + log(1 + ...) tends to pure epsilon for large orders, and is at most order x epsilon^2
// / 2.
TEST(LaplaceTest, LiesUnderBothKnownBounds) {
  const RdpCurve curve = LaplaceRdp(2, 1).value();
  for (size_t i = 0; i < curve.orders.size(); ++i) {
    EXPECT_LE(curve.values[i], std::min(.5, curve.orders[i] * .125) + 1e-12);
  }
  EXPECT_NEAR(curve.values.back(), .5, 1e-2);
}

double PldEpsilon(double sigma, double q, int64_t steps, double delta) {
  const GaussianEvent event{.noise_multiplier = sigma, .sampling_rate = q, .steps = steps};
  return LossEpsilon({&event, 1}, delta).value();
}

TEST(LossDistributionTest, AgreesWithPublishedValues) {
  EXPECT_NEAR(PldEpsilon(1, .01, 1000, 1e-5), 1.828243646, 1e-5);  // dp-accounting
  const GaussianEvent thrice{.noise_multiplier = std::sqrt(3.0), .steps = 3};
  EXPECT_NEAR(LossDelta({&thrice, 1}, 1).value(), 0.126936, 1e-6);  // dp-accounting test
}

// Never below the exact value, and close to it, also for deltas far below the rounding of doubles
// and for noise and step counts at the ends of what anybody uses.
TEST(LossDistributionTest, IsAHairAboveTheExactGaussian) {
  const struct {
    double sigma;
    int64_t steps;
  } rows[] = {{1, 1}, {5, 30}, {0.3, 1}, {100, 1000000}};
  for (const auto& row : rows) {
    for (double delta : {1e-5, 1e-12, 1e-30}) {
      const double exact = GaussianEpsilon(row.sigma, row.steps, delta).value();
      const double epsilon = PldEpsilon(row.sigma, 1, row.steps, delta);
      EXPECT_GE(epsilon, exact - 1e-12) << row.sigma << " " << delta;
      EXPECT_LE(epsilon, exact + 2e-5 * std::max(1.0, exact)) << row.sigma << " " << delta;
      const GaussianEvent event{.noise_multiplier = row.sigma, .steps = row.steps};
      const double back = LossDelta({&event, 1}, exact).value();
      if (exact > 0) {
        EXPECT_NEAR(back, delta, 5e-3 * delta) << row.sigma;
      }
    }
  }
}

TEST(LossDistributionTest, ComposesDifferentReleases) {
  // Gaussians of different noise are one Gaussian of the precisions' sum.
  const GaussianEvent mixed[] = {{.noise_multiplier = 2},
                                 {.noise_multiplier = 3, .steps = 4},
                                 {.noise_multiplier = 7, .steps = 10}};
  const double sigma = 1 / std::sqrt(1 / 4.0 + 4 / 9.0 + 10 / 49.0);
  const double exact = GaussianEpsilon(sigma, 1, 1e-6).value();
  EXPECT_GE(LossEpsilon(mixed, 1e-6).value(), exact);
  EXPECT_NEAR(LossEpsilon(mixed, 1e-6).value(), exact, 1e-5);
  // The same release told as one event or as three.
  const GaussianEvent parts[] = {{1.5, .04, 10}, {1.5, .04, 20}, {1.5, .04, 70}};
  EXPECT_NEAR(LossEpsilon(parts, 1e-5).value(), PldEpsilon(1.5, .04, 100, 1e-5), 1e-7);
  const GaussianEvent both[] = {{1.5, .04, 100}, {.noise_multiplier = 2}};
  EXPECT_GT(LossEpsilon(both, 1e-5).value(), PldEpsilon(2, 1, 1, 1e-5));
  EXPECT_LT(LossEpsilon(both, 1e-5).value(),
            PldEpsilon(2, 1, 1, 5e-6) + PldEpsilon(1.5, .04, 100, 5e-6));
}

TEST(LossDistributionTest, LiesUnderRenyiAndGrowsWithSteps) {
  double last = 0;
  for (int64_t steps : {1, 100, 1000000}) {
    const double epsilon = PldEpsilon(1.5, .04, steps, 1e-5);
    EXPECT_LE(epsilon, RdpEpsilon(1.5, .04, steps, 1e-5));
    EXPECT_GE(epsilon, last);
    last = epsilon;
  }
  // Tiny losses: a grid that is too coarse would add thousands of roundings up.
  EXPECT_LE(PldEpsilon(100, 1e-4, 1000000, 1e-9), RdpEpsilon(100, 1e-4, 1000000, 1e-9));
  for (const GaussianEvent bad : {GaussianEvent{0, .1, 1}, GaussianEvent{1, 0, 1},
                                  GaussianEvent{1, 1.5, 1}, GaussianEvent{1, .1, 0}}) {
    EXPECT_FALSE(LossEpsilon({&bad, 1}, 1e-5).ok());
  }
  const GaussianEvent good{1, .1, 1};
  EXPECT_FALSE(LossEpsilon({&good, 1}, 1).ok());
  EXPECT_FALSE(LossEpsilon({&good, 1}, 0).ok());
  EXPECT_FALSE(LossEpsilon({}, 1e-5).ok());
  EXPECT_FALSE(LossDelta({&good, 1}, -1).ok());
}

TEST(RdpTest, RefusesValuesOutOfRange) {
  EXPECT_FALSE(GaussianRdp(0, 1, 1).ok());
  EXPECT_FALSE(GaussianRdp(1, 1.5, 1).ok());
  EXPECT_FALSE(GaussianRdp(1, 1, 0).ok());
  EXPECT_FALSE(GaussianEpsilon(1, 1, 0).ok());
  EXPECT_FALSE(EpsilonFromRdp(GaussianRdp(1, 1, 1).value(), 1).ok());
  EXPECT_FALSE(CalibrateNoise(0, [](double z) { return GaussianEpsilon(z, 1, 1e-6); }).ok());
  EXPECT_FALSE(
      SkellamRdp({.scale = 1, .sigma_local = 0, .clients = 1, .clip_norm = 1, .dimension = 1})
          .ok());
}

TEST(LedgerTest, ComposesAndRefusesWhatWouldExceed) {
  const RdpCurve round =
      SkellamRdp(
          {.scale = 100, .sigma_local = .3, .clients = 100, .clip_norm = 1, .dimension = 1024})
          .value();
  const PrivacyBudget budget{.epsilon = 6, .delta = 1e-6};
  PrivacyLedger ledger;
  EXPECT_EQ(ledger.SpentEpsilon(1e-6).value(), 0);
  int rounds = 0;
  while (!ledger.WouldExceed(round, budget).value()) {
    ASSERT_TRUE(ledger.Spend(round).ok());
    ++rounds;
  }
  const DistributedMechanism all{.scale = 100,
                                 .sigma_local = .3,
                                 .clients = 100,
                                 .clip_norm = 1,
                                 .dimension = 1024,
                                 .steps = rounds};
  EXPECT_NEAR(ledger.SpentEpsilon(1e-6).value(),
              EpsilonFromRdp(SkellamRdp(all).value(), 1e-6)->epsilon, 1e-9);
  EXPECT_GT(rounds, 3);
  EXPECT_LE(ledger.SpentEpsilon(1e-6).value(), budget.epsilon);
  EXPECT_FALSE(ledger.Spend({.orders = {1.5}, .values = {0}}).ok());
  EXPECT_EQ(ledger.releases, rounds);
}

// Skellam rounds have integer orders, Gaussian ones others too: both are counted.
TEST(LedgerTest, ComposesDifferentMechanisms) {
  const DistributedMechanism skellam{
      .scale = 1000, .sigma_local = .3, .clients = 100, .clip_norm = 1, .dimension = 1024};
  DistributedMechanism discrete = skellam;
  discrete.noise = NoiseKind::kDiscreteGaussian;
  PrivacyLedger ledger;
  for (const RdpCurve& curve : {DistributedRdp(skellam).value(), DistributedRdp(discrete).value(),
                                GaussianRdp(3, 1, 1).value()}) {
    ASSERT_TRUE(ledger.Spend(curve).ok());
  }
  EXPECT_EQ(ledger.releases, 3);
  // At this scale all three are Gaussians of noise 3, or nearly: a hair above three of them, by
  // the Renyi bound; never below the exact value.
  const double spent = ledger.SpentEpsilon(1e-6).value();
  EXPECT_GE(spent, GaussianEpsilon(3, 3, 1e-6).value());
  EXPECT_NEAR(spent, RdpEpsilon(3, 1, 3, 1e-6), 0.03);
}

}  // namespace
}  // namespace lorikeet
