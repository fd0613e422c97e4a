#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/strings.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::Each;
using ::testing::FloatNear;
using ::testing::HasSubstr;

std::vector<TestDevice> Devices(TestFleet* fleet, int count) {
  std::vector<TestDevice> devices;
  for (int i = 0; i < count; ++i) devices.emplace_back(fleet, i);
  return devices;
}

template <typename Step>
void All(std::vector<TestDevice>& devices, const Step& step) {
  for (TestDevice& device : devices) {
    const absl::Status status = step(device);
    EXPECT_TRUE(status.ok()) << device.id() << ": " << status;
  }
}

// From the step after Join to the end, by everybody.  `between` is called between any two messages.
template <typename Between>
void Finish(std::vector<TestDevice>& devices, const Between& between) {
  const auto each = [&](const auto& step) {
    All(devices, [&](TestDevice& device) {
      between();
      return step(device);
    });
  };
  each([](TestDevice& d) { return d.Share(); });
  each([](TestDevice& d) { return d.Mask(d.id() == "device-0" ? 0 : 1, 0.5f); });
  each([](TestDevice& d) { return d.Acknowledge(); });
  each([](TestDevice& d) { return d.Unmask(); });
}

void Finish(std::vector<TestDevice>& devices) {
  Finish(devices, [] {});
}

TEST(RoundsTest, MergesTheMeanIntoTheNextCatalog) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  All(devices, [](TestDevice& d) { return d.Join(); });
  Finish(devices);
  const RoundRecord round = fleet.LatestRound();
  EXPECT_EQ(round.status, RoundStatus::kDone) << round.message;
  EXPECT_EQ(round.survivor_count, 5u);
  const Catalog catalog = fleet.LatestCatalog();
  EXPECT_EQ(catalog.version, 2u);
  EXPECT_THAT(catalog.personas[0].cores, Each(FloatNear(0.5f, 0.05f)));
  EXPECT_THAT(catalog.personas[1].cores, Each(FloatNear(0.5f, 0.05f)));
  const auto report = nlohmann::json::parse(round.report);
  EXPECT_NEAR(report["personas"][0]["noisy_count"].get<double>(), 1, 0.1);
  EXPECT_NEAR(report["personas"][1]["noisy_count"].get<double>(), 4, 0.1);
  EXPECT_NEAR(report["mean_loss_before"].get<double>(), 3, 0.3);
  EXPECT_EQ(report["steps"][2]["messages"], 5);
  EXPECT_TRUE(fleet.store().ListLedger("voices")->front().spent);
  EXPECT_TRUE(fleet.store().RoundEvents(round.id)->empty());
}

TEST(RoundsTest, EveryDeviceLearnsThatTheRoundIsDone) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  All(devices, [](TestDevice& d) { return d.Join(); });
  Finish(devices);
  for (TestDevice& device : devices) {
    const auto poll = device.Poll();
    ASSERT_TRUE(poll.ok()) << poll.status();
    EXPECT_EQ(poll->phase, RoundPhase::kDone);
    EXPECT_EQ(poll->survivor_count, 5u);
    EXPECT_EQ(poll->transcript, fleet.LatestRound().transcript);
  }
  EXPECT_EQ(fleet.service().SubmitMaskedUpdate("device-0", devices[0].update()).code(),
            absl::StatusCode::kAborted);
}

TEST(RoundsTest, GoesOnAfterBeingKilledBetweenAnyTwoMessages) {
  TestFleet undisturbed;
  auto calm = Devices(&undisturbed, 5);
  All(calm, [](TestDevice& d) { return d.Join(); });
  Finish(calm);

  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  for (TestDevice& device : devices) {
    ASSERT_TRUE(device.Join().ok());
    fleet.Restart();
  }
  Finish(devices, [&] { fleet.Restart(); });
  EXPECT_EQ(fleet.store().ListRounds("voices")->size(), 1u);
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kDone) << fleet.LatestRound().message;
  // The same inputs give the same sum, killed or not.
  EXPECT_EQ(fleet.LatestRound().transcript, undisturbed.LatestRound().transcript);
  EXPECT_EQ(CatalogHash(fleet.LatestCatalog()), CatalogHash(undisturbed.LatestCatalog()));
}

TEST(RoundsTest, CompletesWithoutADeviceThatFellSilentInAnyStep) {
  for (int silent_from = 1; silent_from <= 4; ++silent_from) {
    TestFleet fleet;
    auto devices = Devices(&fleet, 5);
    All(devices, [](TestDevice& d) { return d.Join(); });
    TestDevice silent = std::move(devices.back());
    devices.pop_back();
    const auto step = [&](int number, const auto& act) {
      All(devices, act);
      if (number < silent_from) {
        EXPECT_TRUE(act(silent).ok());
      } else if (number == silent_from && number < 4) {
        // Only the step in which it fell silent waits for its deadline.
        fleet.clock().Set(fleet.LatestRound().opened + absl::Seconds(10 * (number + 1)));
        fleet.service().Tick();
      }
    };
    step(1, [](TestDevice& d) { return d.Share(); });
    step(2, [](TestDevice& d) { return d.Mask(1, 0.5f); });
    step(3, [](TestDevice& d) { return d.Acknowledge(); });
    step(4, [](TestDevice& d) { return d.Unmask(); });
    const RoundRecord round = fleet.LatestRound();
    EXPECT_EQ(round.status, RoundStatus::kDone) << silent_from << ": " << round.message;
    EXPECT_EQ(round.survivor_count, silent_from <= 2 ? 4u : 5u);
    EXPECT_THAT(fleet.LatestCatalog().personas[1].cores, Each(FloatNear(0.5f, 0.05f)));
  }
}

TEST(RoundsTest, AbortsUnderTheMinimumAndReleasesNothing) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 2);
  All(devices, [](TestDevice& d) { return d.Join(); });
  fleet.clock().Advance(absl::Seconds(11));
  fleet.service().Tick();
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kAborted);
  EXPECT_THAT(fleet.LatestRound().message, HasSubstr("expected at least 3 clients, got 2"));
  EXPECT_FALSE(fleet.store().ListLedger("voices")->front().spent);
  EXPECT_EQ(fleet.LatestCatalog().version, 1u);
  EXPECT_EQ(devices[0].Poll()->phase, RoundPhase::kAborted);
  // After a pause the next round opens under another number and session.
  EXPECT_EQ(devices[0].Join().code(), absl::StatusCode::kNotFound);
  fleet.clock().Advance(absl::Seconds(2));
  EXPECT_TRUE(devices[0].Join().ok());
  EXPECT_EQ(fleet.LatestRound().number, 2u);
}

TEST(RoundsTest, ShrinkingUnderTheMinimumLaterAbortsToo) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  All(devices, [](TestDevice& d) { return d.Join(); });
  All(devices, [](TestDevice& d) { return d.Share(); });
  EXPECT_TRUE(devices[0].Mask(0, 0.5f).ok());
  EXPECT_TRUE(devices[1].Mask(0, 0.5f).ok());
  fleet.clock().Advance(absl::Seconds(31));
  EXPECT_EQ(devices[0].Acknowledge().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kAborted);
  EXPECT_EQ(fleet.LatestCatalog().version, 1u);
}

TEST(RoundsTest, ADeviceCountsAtMostOnce) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  ASSERT_TRUE(devices[0].Join().ok());
  const uint32_t ticket = devices[0].ticket();
  // The same message again: the same ticket, one event.
  EXPECT_EQ(*fleet.service().AdvertiseKeys("device-0", {devices[0].keys(), std::nullopt}), ticket);
  EXPECT_EQ(fleet.store().RoundEvents(fleet.LatestRound().id)->size(), 1u);
  // Other keys, or somebody else's.
  const KeyAdvertisement keys = devices[0].keys();
  EXPECT_EQ(devices[0].Join().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(fleet.service().AdvertiseKeys("device-1", {keys, std::nullopt}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(RoundsTest, ADeviceActsOnlyAsItself) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  All(devices, [](TestDevice& d) { return d.Join(); });
  All(devices, [](TestDevice& d) { return d.Share(); });
  ASSERT_TRUE(devices[0].Mask(0, 0.5f).ok());
  EXPECT_TRUE(fleet.service().SubmitMaskedUpdate("device-0", devices[0].update()).ok());
  EXPECT_EQ(fleet.service().SubmitMaskedUpdate("device-1", devices[0].update()).code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(fleet.service().SubmitMaskedUpdate("device-5", devices[0].update()).code(),
            absl::StatusCode::kPermissionDenied);
  MaskedUpdate other = devices[0].update();
  other.packed[0] ^= 1;
  EXPECT_EQ(fleet.service().SubmitMaskedUpdate("device-0", other).code(),
            absl::StatusCode::kAlreadyExists);
  other.session[0] ^= 1;
  EXPECT_EQ(fleet.service().SubmitMaskedUpdate("device-0", other).code(),
            absl::StatusCode::kNotFound);
  const PollQuery query = {.session = devices[0].round().secagg.session,
                           .ticket = devices[0].ticket()};
  EXPECT_EQ(fleet.service().Poll("device-1", query).status().code(), absl::StatusCode::kNotFound);
}

TEST(RoundsTest, RevokedAndUnknownDevicesAreRefusedAtOnce) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  ASSERT_TRUE(devices[0].Join().ok());
  ASSERT_TRUE(fleet.store().RevokeDevice("device-0", fleet.clock().Now()).ok());
  EXPECT_EQ(devices[0].Poll().status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(fleet.service().Hello("stranger", 1).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(fleet.service().Hello("device-1", 0).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(fleet.service().Hello("device-1", 1)->protocol_version, 1u);
}

TEST(RoundsTest, OffersRoundsOnlyForTheNewestCatalogOfAnActiveTask) {
  TestFleet fleet({.rounds = 1});
  auto devices = Devices(&fleet, 5);
  EXPECT_EQ(devices[0].Join(2).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(fleet.store().SetTaskState("voices", TaskState::kPaused).ok());
  EXPECT_EQ(devices[0].Join().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(fleet.store().SetTaskState("voices", TaskState::kActive).ok());
  All(devices, [](TestDevice& d) { return d.Join(); });
  EXPECT_EQ(TestDevice(&fleet, 5).Join().code(), absl::StatusCode::kNotFound);  // full
  Finish(devices);
  fleet.clock().Advance(absl::Seconds(60));
  EXPECT_EQ(TestDevice(&fleet, 5).Join(2).code(), absl::StatusCode::kNotFound);  // one was planned
}

TEST(RoundsTest, NoRoundOpensBeyondThePrivacyBudget) {
  TestFleet fleet({.noise_multiplier = 1, .epsilon_budget = 0.5});
  EXPECT_EQ(TestDevice(&fleet, 0).Join().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(fleet.store().ListRounds("")->empty());
}

TEST(RoundsTest, APublishedCatalogWinsOverTheRoundsOwn) {
  TestFleet fleet;
  auto devices = Devices(&fleet, 5);
  All(devices, [](TestDevice& d) { return d.Join(); });
  const std::string path = fleet.directory() + "/catalog-7.gguf";
  ASSERT_TRUE(WriteCatalog(TinyCatalog(fleet.base(), 7), path).ok());
  ASSERT_TRUE(fleet.publisher().PublishCatalog(path, "voices").ok());
  Finish(devices);
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kAborted);
  EXPECT_THAT(fleet.LatestRound().message, HasSubstr("another catalog was published"));
  EXPECT_TRUE(fleet.store().ListLedger("voices")->front().spent);
  EXPECT_EQ(fleet.LatestCatalog().version, 7u);
}

}  // namespace
}  // namespace lorikeet
