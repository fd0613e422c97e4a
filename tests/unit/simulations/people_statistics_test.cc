// Statistics of experiments with people, crossing points of curves, what is
// charged to whom.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "common/base/random.h"
#include "simulations/people/statistics.h"
#include "simulations/people/warm_start.h"
#include "simulations/people/warm_start_analysis.h"

namespace lorikeet {
namespace {

TEST(MedianTest, IsTheMiddle) {
  EXPECT_EQ(Median({}), 0);
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2.5);
}

TEST(SummarizeTest, IntervalsCoverTheMeanOfTheClusters) {
  // Normal clusters with three equal values each: 95 % intervals of the mean,
  // 300 experiments.
  Rng rng(7);
  int covered = 0;
  for (int experiment = 0; experiment < 300; ++experiment) {
    std::vector<double> values;
    std::vector<int> clusters;
    for (int cluster = 0; cluster < 25; ++cluster) {
      const double value = 2 + rng.Normal();
      for (int i = 0; i < 3; ++i) {
        values.push_back(value);
        clusters.push_back(cluster);
      }
    }
    const Summary summary = Summarize(values, clusters, 1);
    covered += summary.mean_interval.low <= 2 && 2 <= summary.mean_interval.high ? 1 : 0;
  }
  // Percentile intervals of 25 clusters cover a little less than they say; ones
  // that took the 75 values for independent would cover some 74 %.
  EXPECT_GE(covered, 300 * 0.90);
  EXPECT_LE(covered, 300 * 0.98);
}

TEST(SummarizeTest, OneClusterHasNoInterval) {
  const std::vector<double> values = {1, 3};
  const Summary summary = Summarize(values, std::vector<int>{5, 5}, 1);
  EXPECT_EQ(summary.count, 2);
  EXPECT_EQ(summary.mean_interval.low, 2);
  EXPECT_EQ(summary.mean_interval.high, 2);
}

TEST(SignTestTest, IsTheBinomialTail) {
  EXPECT_EQ(SignTest(0, 0), 1);
  EXPECT_NEAR(SignTest(10, 0), 1, 1e-12);
  EXPECT_NEAR(SignTest(0, 10), std::pow(0.5, 10), 1e-12);
  EXPECT_NEAR(SignTest(2, 3), 0.5, 1e-12);
  EXPECT_NEAR(SignTest(8, 2), 1013.0 / 1024, 1e-12);
}

std::vector<CurvePoint> Curve(const std::vector<double>& losses) {
  std::vector<CurvePoint> points;
  for (const double loss : losses) {
    const int step = 2 * static_cast<int>(points.size());
    points.push_back({.step = step, .tokens = 100 * step, .loss = loss, .cpu = 12.0 * step});
  }
  return points;
}

TEST(CurveTest, BestAndFirstReaching) {
  const auto points = Curve({5, 4, 4.5, 3, 3, 3.5});
  EXPECT_EQ(BestPoint(points).step, 6);
  EXPECT_EQ(FirstReaching(points, 4.2)->step, 2);
  EXPECT_EQ(FirstReaching(points, 5)->step, 0);
  EXPECT_EQ(FirstReaching(points, 2.9), nullptr);
}

TEST(SmallestRungTest, FindsTheFirstThatHolds) {
  const std::vector<int> ladder = {1, 2, 3, 5, 7, 10, 14};
  for (const int least : {1, 2, 3, 5, 7, 10, 14, 20}) {
    int asked = 0;
    const auto rung = SmallestRung(ladder, [&](int examples) -> absl::StatusOr<bool> {
      ++asked;
      return examples >= least;
    });
    ASSERT_TRUE(rung.ok());
    EXPECT_EQ(*rung, least == 20 ? 0 : least);
    EXPECT_LE(asked, 3);
  }
  EXPECT_FALSE(SmallestRung(ladder, [](int) -> absl::StatusOr<bool> {
                 return absl::InternalError("no");
               }).ok());
}

WarmStartTrial Trial(const std::vector<double>& scratch, const std::vector<double>& warm) {
  WarmStartTrial trial;
  trial.similarity = 0.9;
  trial.persona_id = trial.chosen = "a";
  trial.selection_cpu = 10;
  trial.scratch.points = Curve(scratch);
  trial.warm.points = Curve(warm);
  trial.examples_needed = 5;
  return trial;
}

constexpr TokenRates kRates = {.scratch = 0.1, .warm = 0.2};

TEST(DecideTest, ChargesBothSidesUpToTheTarget) {
  const auto outcome = Decide(Trial({5, 4, 3, 2, 2.5}, {3, 2.5, 1.9, 1.8, 1.7}), kRates, 20);
  EXPECT_EQ(outcome.target, 2);
  EXPECT_EQ(outcome.scratch_steps, 6);
  EXPECT_EQ(outcome.warm_steps, 4);
  EXPECT_NEAR(outcome.scratch_training, 600 * 0.1, 1e-9);
  EXPECT_NEAR(outcome.warm_training, 400 * 0.2, 1e-9);
  EXPECT_NEAR(outcome.saved_training, 1 - (10 + 80) / 60.0, 1e-9);
  EXPECT_NEAR(outcome.scratch_everything, 72, 1e-9);
  EXPECT_NEAR(outcome.warm_everything, 10 + 48, 1e-9);
  EXPECT_NEAR(outcome.saved_everything, 1 - 58 / 72.0, 1e-9);
  EXPECT_NEAR(outcome.saved_data, 0.75, 1e-9);
  EXPECT_NEAR(outcome.advantage, 2 - 1.8, 1e-9);
  EXPECT_NEAR(outcome.early_advantage, 5 - 3, 1e-9);
  EXPECT_NEAR(outcome.final_advantage, 2 - 1.7, 1e-9);
}

TEST(DecideTest, APersonaThatIsThereAtOnceCostsSelection) {
  const auto outcome = Decide(Trial({5, 4, 3}, {3, 2.9, 2.8}), kRates, 20);
  EXPECT_EQ(outcome.warm_steps, 0);
  EXPECT_NEAR(outcome.saved_training, 1 - 10 / 40.0, 1e-9);
}

TEST(DecideTest, AWarmStartThatNeverGetsTherePaysForBoth) {
  WarmStartTrial trial = Trial({5, 4, 3}, {4, 3.9, 3.8});
  trial.examples_needed = 0;
  const auto outcome = Decide(trial, kRates, 20);
  EXPECT_EQ(outcome.warm_steps, -1);
  EXPECT_NEAR(outcome.saved_training, 1 - (10 + 80 + 40) / 40.0, 1e-9);
  EXPECT_EQ(outcome.saved_data, 0);
  EXPECT_LT(outcome.final_advantage, 0);
}

TEST(DecideTest, WithoutAPersonaOnlySelectionIsLost) {
  WarmStartTrial trial = Trial({5, 4, 3}, {5, 4, 3});
  trial.chosen = "base";
  const auto outcome = Decide(trial, kRates, 20);
  EXPECT_NEAR(outcome.saved_training, -10 / 40.0, 1e-9);
  EXPECT_EQ(outcome.advantage, 0);
}

TEST(AnalyzeTest, RatesAreMediansAndRowsCount) {
  WarmStartReport report;
  report.options.similarities = {0.5, 0.9};
  for (int i = 0; i < 3; ++i) {
    report.trials.push_back(Trial({5, 4, 3}, {3, 2.9, 2.8}));
    report.trials.back().persona = i;
    report.trials.back().scratch.train_cpu_per_token = i == 2 ? 9 : 0.1;
    report.trials.back().warm.train_cpu_per_token = 0.2;
  }
  report.trials.back().chosen = "base";
  Analyze(&report);
  ASSERT_EQ(report.rows.size(), 2u);
  EXPECT_EQ(report.rows[0].trials, 0);
  const SimilarityRow& row = report.rows[1];
  EXPECT_EQ(row.trials, 3);
  EXPECT_EQ(row.chose_persona, 2);
  EXPECT_EQ(row.chose_right, 2);
  EXPECT_EQ(row.reached_at_once, 3);
  EXPECT_NEAR(row.scratch_cpu, 40, 1e-9);
  EXPECT_NEAR(row.saved_training.mean, 0.75, 1e-9);
  EXPECT_NE(WarmStartPage(report).find("<svg"), std::string::npos);
  EXPECT_EQ(WarmStartJson(report)["rows"].size(), 2u);
}

}  // namespace
}  // namespace lorikeet
