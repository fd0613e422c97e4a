#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/base/strings.h"
#include "coordinator/aggregation/update_merge.h"
#include "coordinator/rounds/describe_round.h"
#include "coordinator/rounds/task_config.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

TaskConfig StrictTask() {
  TaskConfig task;
  task.name = "voices";
  task.base_fingerprint = std::string(64, 'a');
  task.noise_multiplier = 5;
  task.rounds = 4;
  return task;
}

CatalogShape Shape() {
  return {.hash = std::string(64, 'b'), .version = 1, .persona_count = 4, .block_size = 100};
}

TEST(TaskConfigTest, ACountIsClearAboveThreeDeviationsOfItsNoise) {
  TaskConfig task;
  task.count_weight = 0.5;
  EXPECT_DOUBLE_EQ(ClearCount(task, 2.0), 12.0);
  EXPECT_DOUBLE_EQ(ClearCount(task, 0.01), 2.0);  // one device is never a group
  task.min_count = 0.5;                           // unless the task says so
  EXPECT_DOUBLE_EQ(ClearCount(task, 0.01), 0.5);
}

TEST(TaskConfigTest, ComesBackFromJson) {
  TaskConfig task = StrictTask();
  task.mask = absl::Seconds(12.5);
  task.demonstration = true;
  const auto got = TaskConfigFromJson(TaskConfigToJson(task));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(TaskConfigToJson(*got), TaskConfigToJson(task));
  EXPECT_EQ(got->mask, absl::Seconds(12.5));
}

TEST(TaskConfigTest, RefusesUnknownKeysWrongTypesAndRanges) {
  EXPECT_THAT(std::string(Message(TaskConfigFromJson("{\"colour\": 1}").status())),
              HasSubstr("unknown key colour"));
  EXPECT_THAT(std::string(Message(TaskConfigFromJson("{\"rounds\": \"many\"}").status())),
              HasSubstr("rounds: expected a whole number"));
  EXPECT_FALSE(TaskConfigFromJson("[").ok());
  TaskConfig task = StrictTask();
  task.cohort_max = 2 * task.cohort_min;
  EXPECT_THAT(std::string(Message(CheckTaskConfig(task))),
              HasSubstr("more than half of cohort_max"));
  task = StrictTask();
  task.loss_weight = 1;
  EXPECT_FALSE(CheckTaskConfig(task).ok());
}

TEST(TaskPolicyTest, StrictRuleHoldsUnlessItIsADemonstration) {
  TaskConfig task = StrictTask();
  EXPECT_TRUE(CheckTaskPolicy(task, 7.9, {}).ok());
  EXPECT_EQ(CheckTaskPolicy(task, 8.1, {}).code(), absl::StatusCode::kPermissionDenied);
  task.cohort_min = 29;
  EXPECT_THAT(std::string(Message(CheckTaskPolicy(task, 1, {}))),
              HasSubstr("cohort_min of 30 or more, got 29"));
  task.demonstration = true;
  EXPECT_TRUE(CheckTaskPolicy(task, 100, {}).ok());
}

TEST(DescribeRoundTest, NoiseIsSizedForTheFewestHonestSurvivors) {
  TaskConfig task = StrictTask();
  task.cohort_max = 50;
  const auto round = PlanRound(task, Shape());
  ASSERT_TRUE(round.ok()) << round.status();
  // 30 survivors, of which ceil(5 %) = 2 add no noise.
  const double sum_sigma = round->encoding.sigma_local * std::sqrt(28.0);
  EXPECT_NEAR(sum_sigma, 5.0, 1e-9);
  EXPECT_EQ(round->layout.dimension(), 4 * 101 + 2);
  EXPECT_EQ(round->secagg.dimension, 512);
  EXPECT_GT(2 * round->secagg.threshold, task.cohort_max);
  EXPECT_LE(round->secagg.threshold, task.cohort_min);
  const auto more = EpsilonOfRounds(task, *round, 4);
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_GT(*more, round->epsilon);
  EXPECT_LT(*more, 4 * round->epsilon);
}

TEST(DescribeRoundTest, LargeCohortsGetASparseGraph) {
  TaskConfig task = StrictTask();
  task.cohort_min = 800;
  task.cohort_max = 1000;
  task.dropout_fraction = 0.05;
  const auto round = PlanRound(task, Shape());
  ASSERT_TRUE(round.ok()) << round.status();
  EXPECT_EQ(round->secagg.degree, 52);
  EXPECT_EQ(round->secagg.threshold, 37);
}

TEST(DescribeRoundTest, RotationSeedsAreFresh) {
  SeededRandom random("describe", 1);
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  const auto first = DescribeSweep(StrictTask(), Shape(), 1, now, &random);
  const auto second = DescribeSweep(StrictTask(), Shape(), 2, now, &random);
  ASSERT_TRUE(first.ok() && second.ok()) << first.status();
  EXPECT_NE(first->front().encoding.rotation_seed, second->front().encoding.rotation_seed);
  EXPECT_NE(first->front().secagg.session, second->front().secagg.session);
  EXPECT_EQ(first->front().advertise_until, now + absl::Minutes(10));
}

TEST(UpdateMergeTest, ReleasesNothingThatIsMostlyNoise) {
  const Catalog catalog = TinyCatalog(std::string(64, 'a'), 3);
  const UpdateLayout layout = {.persona_count = 2, .block_size = 4, .count_weight = 0.5};
  // Counts 8 and 2: with a deviation of 0.3 x sqrt(4) in the sum, over a clip norm of 2, the means
  // hold 0.3 x sqrt(4) / 8 = 0.075 and 0.3 clip norms of noise.
  const std::vector<float> sum = {8, 8, 8, 8, 3, 3, 3, 3, 4, 1, 0, 0};
  MergeOptions options;
  options.sigma_local = 0.3;
  options.clip_norm = 2;
  options.largest_noise_ratio = 0.2;
  const auto merged = MergeUpdate(catalog, layout, sum, 4, options);
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_NEAR(merged->report.personas[0].noise_ratio, 0.075, 1e-12);
  EXPECT_NEAR(merged->report.personas[1].noise_ratio, 0.3, 1e-12);
  EXPECT_TRUE(merged->report.personas[0].applied);
  EXPECT_FALSE(merged->report.personas[1].applied);
  options.largest_noise_ratio = 0.05;
  const absl::Status refused = MergeUpdate(catalog, layout, sum, 4, options).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(Message(refused)), HasSubstr("1.5 times the devices"));
}

TEST(DescribeRoundTest, NoiseKindIsStatedAndAccountedFor) {
  TaskConfig task = StrictTask();
  task.noise = "discrete-gaussian";
  const auto round = PlanRound(task, Shape());
  ASSERT_TRUE(round.ok()) << round.status();
  EXPECT_EQ(round->encoding.noise, NoiseKind::kDiscreteGaussian);
  EXPECT_NE(round->epsilon, PlanRound(StrictTask(), Shape())->epsilon);
  SeededRandom random("describe", 1);
  const auto told = DescribeSweep(task, Shape(), 1, absl::FromUnixSeconds(1700000000), &random);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->front().encoding.noise, NoiseKind::kDiscreteGaussian);
  task.noise = "gaussian";
  EXPECT_FALSE(CheckTaskConfig(task).ok());
}

TEST(MergeOptionsTest, DemonstrationsReleaseWhateverComesOut) {
  TaskConfig task = StrictTask();
  const auto round = PlanRound(task, Shape());
  ASSERT_TRUE(round.ok()) << round.status();
  EXPECT_EQ(MergeOptionsOf(task, *round).largest_noise_ratio, 0.3);
  EXPECT_EQ(MergeOptionsOf(task, *round).sigma_local, round->encoding.sigma_local);
  task.demonstration = true;
  EXPECT_TRUE(std::isinf(MergeOptionsOf(task, *round).largest_noise_ratio));
}

TEST(UpdateMergeTest, LeavesPersonasWithTooSmallACountAlone) {
  const Catalog catalog = TinyCatalog(std::string(64, 'a'), 3);
  const UpdateLayout layout = {.persona_count = 2,
                               .block_size = 4,
                               .count_weight = 0.5,
                               .loss_weight = 0.1,
                               .loss_bound = 5};
  // Counts 4 and 1; losses 4 * 2.0 and 4 * 9 (over the bound).
  const std::vector<float> sum = {8, 8, 8, 8, 3, 3, 3, 3, 2, 0.5, 0.8f, 3.6f};
  const auto merged =
      MergeUpdate(catalog, layout, sum, 4, {.server_learning_rate = 0.5, .min_count = 2});
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_EQ(merged->catalog.version, 4u);
  EXPECT_THAT(merged->catalog.personas[0].cores, Each(1.0f));
  EXPECT_THAT(merged->catalog.personas[1].cores, Each(0.0f));
  EXPECT_TRUE(merged->report.personas[0].applied);
  EXPECT_FALSE(merged->report.personas[1].applied);
  EXPECT_NEAR(merged->report.mean_loss_before, 2.0, 1e-6);
  EXPECT_EQ(merged->report.mean_loss_after, 5.0);
  EXPECT_EQ(merged->report.personas[0].noise_ratio, 0);  // without noise
  EXPECT_FALSE(MergeUpdate(catalog, layout, std::vector<float>(11), 4, {}).ok());
  EXPECT_FALSE(MergeUpdate(catalog, layout, sum, 0, {}).ok());
}

}  // namespace
}  // namespace lorikeet
