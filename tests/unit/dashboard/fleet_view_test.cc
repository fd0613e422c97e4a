#include "coordinator/dashboard/fleet_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "coordinator/dashboard/attention.h"
#include "coordinator/storage/open_store.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<TestDevice> Devices(TestFleet* fleet, int count) {
  std::vector<TestDevice> devices;
  for (int i = 0; i < count; ++i) devices.emplace_back(fleet, i);
  return devices;
}

// By the devices from `begin` to before `end`.
template <typename Step>
void Some(size_t begin, size_t end, std::vector<TestDevice>& devices, const Step& step) {
  for (size_t i = begin; i < end; ++i) {
    const absl::Status status = step(devices[i]);
    EXPECT_TRUE(status.ok()) << i << ": " << status;
  }
}

template <typename Step>
void First(size_t count, std::vector<TestDevice>& devices, const Step& step) {
  Some(0, count, devices, step);
}

absl::Status Join(TestDevice& device, uint64_t version = 1) { return device.Join(version); }
absl::Status Share(TestDevice& device) { return device.Share(); }
absl::Status Mask(TestDevice& device) { return device.Mask(1, 0.5f); }
absl::Status Acknowledge(TestDevice& device) { return device.Acknowledge(); }
absl::Status Unmask(TestDevice& device) { return device.Unmask(); }

// The step of the only open round ends without those who did not come.
void PassDeadline(TestFleet* fleet) {
  fleet->clock().Set(fleet->service().Tick() + absl::Milliseconds(1));
  fleet->service().Tick();
}

// Everybody joins, the last one sends nothing more.
void RunRound(TestFleet* fleet, uint64_t version) {
  fleet->clock().Advance(absl::Seconds(5));
  auto devices = Devices(fleet, 5);
  First(5, devices, [&](TestDevice& d) { return Join(d, version); });
  First(5, devices, Share);
  First(4, devices, Mask);
  PassDeadline(fleet);
  First(4, devices, Acknowledge);
  First(4, devices, Unmask);
}

RoundEnd EndOf(const RoundRecord& round) {
  RoundEnd end;
  end.round = round;
  return end;
}

class FleetViewTest : public ::testing::Test {
 protected:
  FleetView Read(TestFleet* fleet) {
    auto view = viewer_.value().Read(fleet->clock().Now());
    EXPECT_TRUE(view.ok()) << view.status();
    return view.ok() ? *view : FleetView();
  }
  void Open(TestFleet* fleet) {
    store_ = OpenStore(fleet->store_path(), false).value();
    viewer_.emplace(store_.get());
  }
  std::unique_ptr<SqlStore> store_;
  std::optional<FleetViewer> viewer_;
};

TEST_F(FleetViewTest, FollowsAnOpenRoundWithoutReplayingIt) {
  TestFleet fleet;
  Open(&fleet);
  EXPECT_TRUE(Read(&fleet).open.empty());
  auto devices = Devices(&fleet, 5);
  const auto expect = [&](SecAggStep step, int arrived, int expected) {
    const FleetView view = Read(&fleet);
    ASSERT_EQ(view.open.size(), 1u);
    const RoundView& round = view.open[0];
    EXPECT_EQ(round.step, step) << ToAbsl(SecAggStepName(round.step));
    EXPECT_EQ(round.steps[static_cast<size_t>(step)].arrived, arrived);
    EXPECT_EQ(round.steps[static_cast<size_t>(step)].expected, expected);
    EXPECT_GT(round.deadline, fleet.clock().Now());
    EXPECT_EQ(view.tasks[0].open, 1);
    EXPECT_EQ(view.tasks[0].waiting, "");
  };
  First(1, devices, [](TestDevice& d) { return Join(d); });
  expect(SecAggStep::kAdvertise, 1, 5);
  Some(1, 4, devices, [](TestDevice& d) { return Join(d); });
  expect(SecAggStep::kAdvertise, 4, 5);
  PassDeadline(&fleet);
  expect(SecAggStep::kShare, 0, 4);
  First(2, devices, Share);
  expect(SecAggStep::kShare, 2, 4);
  Some(2, 4, devices, Share);
  expect(SecAggStep::kMask, 0, 4);
  First(3, devices, Mask);
  expect(SecAggStep::kMask, 3, 4);
  PassDeadline(&fleet);
  expect(SecAggStep::kAcknowledge, 0, 3);
  First(3, devices, Acknowledge);
  expect(SecAggStep::kUnmask, 0, 3);
}

TEST_F(FleetViewTest, SaysWhereARoundLostDevicesAndWhy) {
  TestFleet fleet;
  Open(&fleet);
  auto devices = Devices(&fleet, 6);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(devices[5].Prepare().ok()) << "it asks, and asks again";
  First(5, devices, [](TestDevice& d) { return Join(d); });
  First(5, devices, Share);
  First(3, devices, Mask);
  PassDeadline(&fleet);
  EXPECT_EQ(Read(&fleet).open.size(), 1u) << "so that the round is seen open, then over";
  First(3, devices, Acknowledge);
  First(3, devices, Unmask);
  const FleetView view = Read(&fleet);
  EXPECT_TRUE(view.open.empty());
  ASSERT_EQ(view.recent.size(), 1u);
  const RoundView& round = view.recent[0];
  EXPECT_EQ(round.status, RoundStatus::kDone) << round.message;
  EXPECT_EQ(round.survivors, 3);
  EXPECT_EQ(round.checked_in, std::optional<int>(6));
  EXPECT_EQ(round.steps[0].arrived, 5);
  EXPECT_EQ(round.steps[2].arrived, 3);
  EXPECT_TRUE(round.steps[2].waited);
  EXPECT_FALSE(round.steps[1].waited);
  ASSERT_EQ(round.losses.size(), 1u);
  EXPECT_EQ(round.losses[0].step, SecAggStep::kMask);
  EXPECT_EQ(round.losses[0].devices, 2);
  EXPECT_FALSE(round.losses[0].counted);
  EXPECT_THAT(round.losses[0].why, HasSubstr("no update"));
  EXPECT_EQ(round.catalog_version, 1u);
  EXPECT_EQ(round.made_version, std::optional<uint64_t>(2));
  ASSERT_EQ(round.personas.size(), 2u);
  EXPECT_NEAR(round.personas[1].noisy_count, 3, 0.2);
  ASSERT_TRUE(round.mean_loss_before.has_value());
  EXPECT_EQ(view.tasks[0].done, 1);
  EXPECT_EQ(view.rounds_done, 1);
  EXPECT_EQ(view.devices.enrolled, 6);
  ASSERT_EQ(view.releases.size(), 3u);
  EXPECT_TRUE(view.releases[0].newest);
  EXPECT_GT(view.releases[0].bytes, 0u);
}

TEST_F(FleetViewTest, WhoCheckedInIsNotKnownOfARoundThatARestartContinued) {
  TestFleet fleet;
  Open(&fleet);
  auto devices = Devices(&fleet, 5);
  First(3, devices, [](TestDevice& d) { return Join(d); });
  fleet.Restart();
  Some(3, 5, devices, [](TestDevice& d) { return Join(d); });
  First(5, devices, Share);
  First(5, devices, Mask);
  First(5, devices, Acknowledge);
  First(5, devices, Unmask);
  const FleetView view = Read(&fleet);
  ASSERT_EQ(view.recent.size(), 1u);
  EXPECT_EQ(view.recent[0].survivors, 5) << view.recent[0].message;
  EXPECT_FALSE(view.recent[0].checked_in.has_value());
}

TEST_F(FleetViewTest, AnAbortedRoundLostEverybodyAndNeedsALook) {
  TestFleet fleet;
  Open(&fleet);
  auto devices = Devices(&fleet, 2);
  First(2, devices, [](TestDevice& d) { return Join(d); });
  PassDeadline(&fleet);
  const FleetView view = Read(&fleet);
  ASSERT_EQ(view.recent.size(), 1u);
  const RoundView& round = view.recent[0];
  EXPECT_EQ(round.status, RoundStatus::kAborted);
  ASSERT_EQ(round.losses.size(), 1u);
  EXPECT_EQ(round.losses[0].devices, 2);
  EXPECT_THAT(round.losses[0].why, HasSubstr("expected at least 3 clients, got 2"));
  EXPECT_FALSE(round.steps[1].reached);
  EXPECT_EQ(view.tasks[0].spent_rounds, 0);
  ASSERT_EQ(view.attention.size(), 1u);
  EXPECT_FALSE(view.attention[0].urgent);
  EXPECT_THAT(view.attention[0].text, HasSubstr("aborted"));
}

TEST_F(FleetViewTest, TheGaugeIsWhatTheCoordinatorGoesBy) {
  FleetOptions options;
  options.noise_multiplier = 2;
  TestFleet probe(options);
  auto joined = Devices(&probe, 1);
  ASSERT_TRUE(joined[0].Join().ok());
  const double one = joined[0].round().epsilon;

  options.epsilon_budget = 1.1 * one;
  TestFleet fleet(options);
  Open(&fleet);
  EXPECT_EQ(Read(&fleet).tasks[0].epsilon_spent, 0);
  RunRound(&fleet, 1);
  const FleetView view = Read(&fleet);
  const TaskView& task = view.tasks[0];
  EXPECT_EQ(task.spent_rounds, 1);
  EXPECT_NEAR(task.epsilon_spent, one, 1e-9);
  EXPECT_EQ(task.epsilon_budget, std::optional<double>(1.1 * one));
  EXPECT_GT(*task.epsilon_next, *task.epsilon_budget);
  EXPECT_THAT(task.waiting, HasSubstr("privacy budget"));
  ASSERT_EQ(view.attention.size(), 1u);
  EXPECT_TRUE(view.attention[0].urgent);
  EXPECT_THAT(view.attention[0].text, HasSubstr("used up"));
  // And the coordinator opens none.
  fleet.clock().Advance(absl::Seconds(5));
  auto late = Devices(&fleet, 1);
  EXPECT_FALSE(late[0].Join(2).ok());
}

TEST_F(FleetViewTest, CountsRoundsItNoLongerKeeps) {
  FleetOptions options;
  options.rounds = 1000;
  TestFleet fleet(options);
  auto devices = Devices(&fleet, 1);
  ASSERT_TRUE(devices[0].Join().ok());
  RoundRecord first = fleet.LatestRound();
  Open(&fleet);
  EXPECT_EQ(Read(&fleet).open.size(), 1u);
  SqlStore& store = fleet.store();
  const int count = static_cast<int>(kRecentRounds) + 20;
  for (int i = 0; i < count; ++i) {
    RoundRecord round = first;
    round.number = static_cast<uint64_t>(i) + 2;
    round.session = Blake2b(AsBytes(absl::StrCat("round ", i)));
    LedgerRecord ledger;
    ledger.task = round.task;
    ledger.round_number = ledger.sweep = round.number;
    const auto ids = store.OpenSweep({{.round = round, .ledger = ledger}});
    ASSERT_TRUE(ids.ok()) << ids.status();
    round.id = ids->front();
    round.status = i % 4 == 0 ? RoundStatus::kAborted : RoundStatus::kDone;
    round.finished = fleet.clock().Now();
    round.report = "{}";
    ASSERT_TRUE(store.FinishRound(EndOf(round)).ok());
    if (i == 100) Read(&fleet);
  }
  FleetView view = Read(&fleet);
  EXPECT_EQ(view.recent.size(), kRecentRounds);
  EXPECT_EQ(view.recent[0].number, static_cast<uint64_t>(count) + 1);
  EXPECT_EQ(view.rounds_done + view.rounds_aborted, count);
  EXPECT_EQ(view.rounds_aborted, count / 4);
  // The oldest of all ends last.
  first.status = RoundStatus::kAborted;
  first.finished = fleet.clock().Now();
  ASSERT_TRUE(store.FinishRound(EndOf(first)).ok());
  view = Read(&fleet);
  EXPECT_TRUE(view.open.empty());
  EXPECT_EQ(view.rounds_aborted, count / 4 + 1);
  EXPECT_EQ(Read(&fleet).rounds_aborted, count / 4 + 1);
}

TEST_F(FleetViewTest, JsonIsTheSameForTheSameFleetAndNamesNoDevice) {
  TestFleet fleet;
  Open(&fleet);
  RunRound(&fleet, 1);
  auto devices = Devices(&fleet, 3);
  fleet.clock().Advance(absl::Seconds(5));
  First(3, devices, [](TestDevice& d) { return Join(d, 2); });
  const std::string json = FleetViewToJson(Read(&fleet));
  EXPECT_EQ(json, FleetViewToJson(Read(&fleet)));
  FleetViewer another(store_.get());
  EXPECT_EQ(json, FleetViewToJson(*another.Read(fleet.clock().Now())));
  EXPECT_THAT(json, Not(HasSubstr("device-")));
  const auto document = nlohmann::json::parse(json);
  EXPECT_EQ(document["open"][0]["step"], "advertise");
  EXPECT_EQ(document["open"][0]["steps"][0]["arrived"], 3);
  EXPECT_EQ(document["recent"][0]["survivors"], 4);
  EXPECT_EQ(document["tasks"][0]["epsilon_budget"], nullptr);
}

TEST(AttentionTest, SaysWhatIsWrongMostUrgentFirst) {
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  FleetView view;
  EXPECT_TRUE(WhatNeedsAttention(view, now).empty());
  ReleaseView release;
  release.name = "voices";
  release.version = 7;
  release.expires = now + absl::Hours(24 * 10);
  release.newest = true;
  view.releases.push_back(release);
  ReleaseView old = view.releases[0];
  old.newest = false;
  old.expires = now - absl::Hours(1);
  view.releases.push_back(old);
  RoundView late;
  late.task = "voices";
  late.number = 9;
  late.deadline = now - absl::Minutes(1);
  view.open.push_back(late);
  const auto list = WhatNeedsAttention(view, now);
  ASSERT_EQ(list.size(), 2u);
  EXPECT_TRUE(list[0].urgent);
  EXPECT_THAT(list[0].text, HasSubstr("round 9 is past its deadline"));
  EXPECT_FALSE(list[1].urgent);
  EXPECT_THAT(list[1].text, HasSubstr("expires in 10 days"));
  view.releases[0].expires = now;
  EXPECT_TRUE(WhatNeedsAttention(view, now)[1].urgent);
}

}  // namespace
}  // namespace lorikeet
