// One budget over all tasks of a base: what is composed, and which round does not open.
#include "coordinator/rounds/total_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/dp/accountant.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr double kDelta = 1e-5;

class TotalBudgetTest : public testing::Test {
 protected:
  TaskConfig ConfigOf(const std::string& name) {
    const auto tasks = fleet_.store().ListTasks().value();
    for (const TaskRecord& task : tasks) {
      if (task.name == name) return TaskConfigFromJson(task.config).value();
    }
    ADD_FAILURE() << name;
    return {};
  }
  // Another task of the fleet, with `noise` clip norms.
  TaskConfig AddTask(const std::string& name, double noise) {
    TaskConfig task = ConfigOf("voices");
    task.name = name;
    task.noise_multiplier = noise;
    task.rounds = 5;
    AddTask(task);
    return task;
  }
  void AddTask(const TaskConfig& task) {
    ASSERT_TRUE(fleet_.store()
                    .AddTask({.name = task.name,
                              .config = TaskConfigToJson(task),
                              .created = fleet_.clock().Now() + absl::Seconds(1)})
                    .ok());
  }
  RoundDescription Plan(const TaskConfig& task) {
    const auto catalog = fleet_.store().LatestRelease(ReleaseKind::kCatalog, fleet_.base());
    return PlanRound(task, ShapeOf(**catalog, &fleet_.blobs()).value()).value();
  }
  RdpCurve CurveOf(const TaskConfig& task) {
    return DistributedRdp(RoundMechanism(Plan(task).encoding, task.cohort_min, 1)).value();
  }
  // What joining says, by a device that follows the newest catalog.
  absl::Status Open() { return TestDevice(&fleet_, 0).Join(fleet_.LatestCatalog().version); }
  // A round with five devices, from the first key to the next catalog.  Its task, or why there is
  // none.
  std::string RunRound() {
    std::vector<TestDevice> devices;
    for (int i = 0; i < 5; ++i) devices.emplace_back(&fleet_, i);
    const uint64_t version = fleet_.LatestCatalog().version;
    for (TestDevice& d : devices) {
      if (const absl::Status joined = d.Join(version); !joined.ok()) return joined.ToString();
    }
    for (TestDevice& d : devices) EXPECT_TRUE(d.Share().ok());
    for (TestDevice& d : devices) EXPECT_TRUE(d.Mask(0, 0.5f).ok());
    for (TestDevice& d : devices) EXPECT_TRUE(d.Acknowledge().ok());
    for (TestDevice& d : devices) EXPECT_TRUE(d.Unmask().ok());
    EXPECT_EQ(fleet_.LatestRound().status, RoundStatus::kDone) << fleet_.LatestRound().message;
    return fleet_.LatestRound().task;
  }
  TotalSpent Spent() { return SpentOverTasks(&fleet_.store(), fleet_.base()).value(); }

  TestFleet fleet_{{.rounds = 1, .noise_multiplier = 20}};
};

TEST_F(TotalBudgetTest, NothingIsSpentAtFirst) {
  EXPECT_EQ(Spent().composed.releases, 0);
  EXPECT_EQ(Spent().composed.SpentEpsilon(kDelta).value(), 0);
  EXPECT_EQ(Composed(Spent()), "nothing");
}

TEST_F(TotalBudgetTest, ComposesRoundsOfTasksWithDifferentNoise) {
  const TaskConfig second = AddTask("second", 10);
  PrivacyLedger expected;
  ASSERT_TRUE(expected.Spend(CurveOf(ConfigOf("voices"))).ok());
  EXPECT_EQ(RunRound(), "voices");
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(expected.Spend(CurveOf(second)).ok());
    EXPECT_EQ(RunRound(), "second");
  }
  const TotalSpent spent = Spent();
  EXPECT_EQ(spent.composed.releases, 3);
  EXPECT_THAT(spent.tasks, ElementsAre(Pair("second", 2), Pair("voices", 1)));
  EXPECT_NEAR(spent.composed.SpentEpsilon(kDelta).value(), expected.SpentEpsilon(kDelta).value(),
              1e-9);
  EXPECT_NEAR(SpentByTask(&fleet_.store(), second)->SpentEpsilon(kDelta).value(),
              RoundEpsilon(Plan(second).encoding, second.cohort_min, 2, kDelta).value(), 1e-9);
  EXPECT_EQ(SpentOverTasks(&fleet_.store(), std::string(64, 'f'))->composed.releases, 0)
      << "another base";
}

TEST_F(TotalBudgetTest, StopsASecondTaskThatHasABudgetOfItsOwnLeft) {
  const TaskConfig second = AddTask("second", 10);
  PrivacyLedger fits;
  ASSERT_TRUE(fits.Spend(CurveOf(ConfigOf("voices"))).ok());
  ASSERT_TRUE(fits.Spend(CurveOf(second)).ok());
  const double both = fits.SpentEpsilon(kDelta).value();
  fleet_.LimitTotal({.epsilon = both * (1 + 1e-9), .delta = kDelta});
  EXPECT_EQ(RunRound(), "voices");
  EXPECT_EQ(RunRound(), "second");
  EXPECT_TRUE(absl::IsNotFound(Open()));
  EXPECT_TRUE(absl::IsNotFound(Open())) << "nor when asked again";
  fleet_.Restart();
  EXPECT_TRUE(absl::IsNotFound(Open())) << "what was spent is in the store";
  const absl::Status full = CheckTotalBudget(Spent(), second, Plan(second),
                                             {.epsilon = both * (1 + 1e-9), .delta = kDelta});
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_THAT(std::string(full.message()),
              HasSubstr("on top of 1 charge(s) of task second, 1 charge(s) of task voices"));
  fleet_.LimitTotal({.epsilon = 2 * both, .delta = kDelta});
  EXPECT_EQ(RunRound(), "second");
}

// A round that released nothing gives its charge back, also to the other tasks.
TEST_F(TotalBudgetTest, AnAbortedRoundFreesItsShare) {
  const TaskConfig second = AddTask("second", 20);
  PrivacyLedger one;
  ASSERT_TRUE(one.Spend(CurveOf(second)).ok());
  const PrivacyBudget budget{.epsilon = one.SpentEpsilon(kDelta).value() * 1.01, .delta = kDelta};
  fleet_.LimitTotal(budget);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(fleet_.LatestRound().task, "voices");
  EXPECT_EQ(Spent().composed.releases, 1) << "charged before anything is sent";
  EXPECT_FALSE(CheckTotalBudget(Spent(), second, Plan(second), budget).ok());
  fleet_.clock().Advance(absl::Seconds(11));
  fleet_.service().Tick();
  EXPECT_EQ(fleet_.LatestRound().status, RoundStatus::kAborted);
  EXPECT_EQ(Spent().composed.releases, 0);
  EXPECT_TRUE(CheckTotalBudget(Spent(), second, Plan(second), budget).ok());
  EXPECT_EQ(RunRound(), "second") << "the first task waits after its failure";
  EXPECT_TRUE(absl::IsNotFound(Open()));
}

TEST_F(TotalBudgetTest, TheDigestFollowsWhatCounts) {
  const Hash256 before = SpentDigest(&fleet_.store()).value();
  ASSERT_TRUE(Open().ok());
  EXPECT_NE(SpentDigest(&fleet_.store()).value(), before);
  fleet_.clock().Advance(absl::Seconds(11));
  fleet_.service().Tick();
  EXPECT_EQ(SpentDigest(&fleet_.store()).value(), before);
}

TEST_F(TotalBudgetTest, CountsTheRoundsThatFit) {
  const TaskConfig task = ConfigOf("voices");
  const RoundDescription plan = Plan(task);
  for (const int64_t rounds : {1, 7, 30}) {
    PrivacyBudget budget{.delta = kDelta};
    budget.epsilon =
        RoundEpsilon(plan.encoding, task.cohort_min, static_cast<int>(rounds), kDelta).value() *
        (1 + 1e-9);
    EXPECT_EQ(RoundsThatFit({}, task, plan, 100, budget).value(), rounds);
    EXPECT_EQ(RoundsThatFit({}, task, plan, 5, budget).value(), std::min<int64_t>(rounds, 5));
  }
  EXPECT_EQ(RoundsThatFit({}, task, plan, 5, {.epsilon = 1e-9, .delta = kDelta}).value(), 0);
}

TEST_F(TotalBudgetTest, CentralNoiseIsChargedOnceForAllOfATasksRounds) {
  TaskConfig central = ConfigOf("voices");
  central.name = "central";
  central.noise = "central";
  central.noise_multiplier = 2;
  central.rounds = 4;
  AddTask(central);
  ASSERT_TRUE(fleet_.store().SetTaskState("voices", TaskState::kPaused).ok());
  EXPECT_EQ(RunRound(), "central");
  const double one = Spent().composed.SpentEpsilon(kDelta).value();
  PrivacyLedger expected;
  ASSERT_TRUE(expected.Spend(GaussianRdp(2, 1, 1).value()).ok());
  EXPECT_NEAR(one, expected.SpentEpsilon(kDelta).value(), 1e-9);
  const PrivacyBudget budget{.epsilon = one * (1 + 1e-9), .delta = kDelta};
  EXPECT_EQ(RoundsThatFit(Spent(), central, Plan(central), 4, budget).value(), 4);
  fleet_.LimitTotal(budget);
  EXPECT_EQ(RunRound(), "central");
  EXPECT_EQ(Spent().composed.SpentEpsilon(kDelta).value(), one);
  EXPECT_THAT(Composed(Spent()), HasSubstr("1 charge(s) of task central (central noise)"));
}

TEST(RoutedTotalBudgetTest, ASweepCountsOnce) {
  TestFleet fleet({.cohort_min = 3, .noise_multiplier = 20, .personas = 4, .bucket_personas = 2});
  ASSERT_TRUE(TestDevice(&fleet, 0).Join().ok());
  EXPECT_EQ(fleet.store().ListLedger("voices")->size(), 2u) << "one round a bucket";
  const TotalSpent spent = SpentOverTasks(&fleet.store(), fleet.base()).value();
  EXPECT_THAT(spent.tasks, ElementsAre(Pair("voices", 1)));
}

}  // namespace
}  // namespace lorikeet
