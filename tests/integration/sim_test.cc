// Whole simulated fleets: production code, one seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/log.h"
#include "simulations/scenarios/fleet_run.h"
#include "simulations/scenarios/fuzz.h"
#include "simulations/scenarios/protocol_scale.h"

namespace lorikeet {
namespace {

using ::testing::IsEmpty;

FleetRunOptions FiftyDevices(uint64_t seed) {
  FleetRunOptions options;
  options.seed = seed;
  options.synthetic = true;
  options.dropout = 0.1;
  options.faults = ParseFaults("loss=0.02,duplicate=0.05,tamper=0.02,restart=120").value();
  return options;
}

class SimTest : public testing::Test {
 protected:
  void SetUp() override { SetLogLevel(LogLevel::kError); }
};

TEST_F(SimTest, FiftyDevicesFinishTwoRoundsDespiteFaults) {
  const auto result = RunFleet(FiftyDevices(1));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->status.ok()) << result->status;
  EXPECT_THAT(result->violations, IsEmpty());
  EXPECT_EQ(result->rounds_done(), 2);
  EXPECT_EQ(result->catalog_version, 3u);
  EXPECT_FALSE(result->demonstration);
  EXPECT_GT(result->coordinator_kills, 0);
  int crashes = 0;
  for (const DeviceResult& device : result->devices) {
    EXPECT_EQ(device.catalog_version, 3u) << device.id;
    EXPECT_LE(device.loss_personalized, device.loss_persona) << device.id;
    crashes += device.crashes;
  }
  EXPECT_GT(crashes, 0);
  for (const RoundResult& round : result->rounds) {
    if (!round.done) continue;
    EXPECT_GE(round.survivors, 30u);
    EXPECT_EQ(round.sum_error, 0u);
    EXPECT_GT(round.bytes_up, 0u);
    EXPECT_LE(round.epsilon_total, 8.0);
  }
}

TEST_F(SimTest, OneSeedGivesTheSameBytesWhateverTheThreads) {
  FleetRunOptions options = FiftyDevices(2);
  const auto first = RunFleet(options);
  options.threads = 3;
  const auto second = RunFleet(options);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(FleetResultToJson(*first).dump(), FleetResultToJson(*second).dump());
  EXPECT_EQ(FleetResultToHtml(*first), FleetResultToHtml(*second));
}

TEST_F(SimTest, AnotherSeedIsAnotherRun) {
  const auto first = RunFleet(FiftyDevices(2)), second = RunFleet(FiftyDevices(3));
  ASSERT_TRUE(first.ok() && second.ok());
  auto one = FleetResultToJson(*first), other = FleetResultToJson(*second);
  EXPECT_NE(one["devices"].dump(), other["devices"].dump());
  EXPECT_NE(one["rounds"].dump(), other["rounds"].dump());
}

TEST_F(SimTest, RoundsTeachTheFleet) {
  FleetRunOptions options;
  options.synthetic = true;
  options.devices = 40;
  options.rounds = 3;
  options.personas = 2;
  options.epsilon_budget = 1e6;  // hardly any noise: what is left is learning
  const auto result = RunFleet(options);
  ASSERT_TRUE(result.ok() && result->status.ok());
  FleetRunOptions no_rounds = options;
  no_rounds.rounds = 1;
  const auto shorter = RunFleet(no_rounds);
  ASSERT_TRUE(shorter.ok() && shorter->status.ok());
  const auto mean = [](const FleetResult& fleet) {
    double sum = 0;
    for (const DeviceResult& device : fleet.devices) sum += device.loss_persona;
    return sum / static_cast<double>(fleet.devices.size());
  };
  EXPECT_LT(mean(*result), mean(*shorter));
}

TEST_F(SimTest, TooSmallACohortReleasesNothing) {
  FleetRunOptions options;
  options.synthetic = true;
  options.devices = 5;
  options.cohort_min = 5;
  options.rounds = 1;
  options.dropout = 1;  // everybody crashes in every round
  options.epsilon_budget = 1e6;
  options.limit_hours = 0.5;
  const auto result = RunFleet(options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(result->status)) << result->status;
  EXPECT_THAT(result->violations, IsEmpty());
  EXPECT_EQ(result->rounds_done(), 0);
  EXPECT_EQ(result->catalog_version, 1u);
  EXPECT_GT(result->rounds.size(), 0u);
}

TEST_F(SimTest, FuzzedFleetsFollowFromTheirSeedAlone) {
  EXPECT_EQ(DescribeFleet(RandomFleet(5)), DescribeFleet(RandomFleet(5)));
  EXPECT_NE(DescribeFleet(RandomFleet(5)), DescribeFleet(RandomFleet(6)));
}

TEST_F(SimTest, ProtocolAloneSumsExactly) {
  for (const int devices : {12, 120}) {  // complete and sparse graph
    ScaleOptions options;
    options.devices = devices;
    options.dimension = 500;
    const auto result = RunScale(options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->sum_error, 0u);
    EXPECT_EQ(result->survivors, devices - devices / 10);
    EXPECT_LE(result->degree, devices - 1);
    EXPECT_GT(result->steps[2].bytes_up, static_cast<uint64_t>(result->survivors) * 512 * 3);
  }
}

}  // namespace
}  // namespace lorikeet
