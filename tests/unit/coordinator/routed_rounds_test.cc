// Routed tasks: six personas in buckets of two, a round for each, one catalog for all of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/strings.h"
#include "common/wire/sign_round.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;

constexpr int kPerBucket = 3;

FleetOptions RoutedFleet() {
  return {.cohort_min = 3, .cohort_max = 4, .devices = 12, .personas = 6, .bucket_personas = 2};
}

// Three devices a bucket, in the order of buckets.  Device i has persona 2 * (i / 3) + i % 2 and
// adds 0.5.
std::vector<TestDevice> Devices(TestFleet* fleet, int count = 3 * kPerBucket) {
  std::vector<TestDevice> devices;
  for (int i = 0; i < count; ++i) devices.emplace_back(fleet, i);
  for (int i = 0; i < count; ++i) {
    devices[static_cast<size_t>(i)].set_persona(2 * (i / kPerBucket) + i % 2);
  }
  return devices;
}

int PersonaOf(size_t device) { return 2 * static_cast<int>(device / kPerBucket) + device % 2; }

const std::vector<int> kEverybody = {0, 1, 2, 3, 4, 5, 6, 7, 8};

class RoutedRoundsTest : public testing::Test {
 protected:
  RoutedRoundsTest()
      : fleet_(std::make_unique<TestFleet>(RoutedFleet())), devices_(Devices(fleet_.get())) {}

  void RunSweep() {
    Join();
    EndStep();
    Share();
    Mask();
    Finish();
  }

  // `step` by each of these devices; between any two of them `between_` is called.
  template <typename Step>
  void Each(const std::vector<int>& who, const Step& step) {
    for (const int i : who) {
      const absl::Status status = step(static_cast<size_t>(i));
      EXPECT_TRUE(status.ok()) << i << ": " << status;
      if (between_) between_();
    }
  }
  void Join(const std::vector<int>& who = kEverybody, uint64_t catalog = 1) {
    Each(who, [&](size_t i) { return devices_[i].Join(catalog); });
  }
  void Share(const std::vector<int>& who = kEverybody) {
    Each(who, [&](size_t i) { return devices_[i].Share(); });
  }
  void Mask(const std::vector<int>& who = kEverybody) {
    Each(who, [&](size_t i) { return devices_[i].Mask(PersonaOf(i), 0.5f); });
  }
  void Acknowledge(const std::vector<int>& who = kEverybody) {
    Each(who, [&](size_t i) { return devices_[i].Acknowledge(); });
  }
  void Unmask(const std::vector<int>& who = kEverybody) {
    Each(who, [&](size_t i) { return devices_[i].Unmask(); });
  }
  void Finish(const std::vector<int>& who = kEverybody) {
    Acknowledge(who);
    Unmask(who);
  }
  // To the end of the first step: whatever cohort is too small by then is aborted.
  void EndStep(int steps = 1) {
    const absl::Time opened = Rounds().back().opened;
    fleet_->clock().Set(opened + absl::Seconds(10 * steps));
    fleet_->service().Tick();
  }
  // Newest first.
  std::vector<RoundRecord> Rounds() { return fleet_->store().ListRounds("voices").value(); }
  std::vector<RoundStatus> Statuses() {
    std::vector<RoundStatus> statuses;
    for (const RoundRecord& round : Rounds()) statuses.insert(statuses.begin(), round.status);
    return statuses;
  }
  void ExpectPersonas(const std::vector<float>& expected) {
    const Catalog catalog = fleet_->LatestCatalog();
    for (size_t k = 0; k < expected.size(); ++k) {
      EXPECT_THAT(catalog.personas[k].cores, testing::Each(FloatNear(expected[k], 0.05f))) << k;
    }
  }

  std::unique_ptr<TestFleet> fleet_;
  std::vector<TestDevice> devices_;
  std::function<void()> between_;
};

TEST_F(RoutedRoundsTest, AllBucketsOpenTogetherAndEverybodyIsShownTheSame) {
  const RoundQuery query = {.base_fingerprint = fleet_->base(), .catalog_version = 1};
  const auto first = fleet_->service().GetRound("device-0", query);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->rounds.size(), 3u);
  ASSERT_TRUE(devices_[0].Join().ok());
  std::vector<RoundDescription> sweep;
  for (const SignedRoundDescription& round : first->rounds) {
    sweep.push_back(VerifyRoundDescription(round, fleet_->key().public_key()).value());
  }
  for (size_t b = 0; b < sweep.size(); ++b) {
    EXPECT_EQ(sweep[b].round_number, b + 1);
    EXPECT_EQ(sweep[b].layout.first_persona, static_cast<int>(2 * b));
    EXPECT_EQ(sweep[b].layout.persona_count, 2);
    EXPECT_EQ(sweep[b].layout.catalog_personas, 6);
    EXPECT_EQ(sweep[b].join_from, fleet_->clock().Now() + absl::Seconds(5));
    EXPECT_EQ(sweep[b].advertise_until, sweep[0].advertise_until);
    EXPECT_EQ(sweep[b].unmask_until, sweep[0].unmask_until);
    ASSERT_TRUE(sweep[b].token);
    EXPECT_EQ(sweep[b].token->key_id, sweep[0].token->key_id);
    EXPECT_EQ(sweep[b].token->epoch, sweep[0].token->epoch);
  }
  // Whoever asks, by name or not, whoever has joined meanwhile: bytes for bytes.
  SeededRandom random("nobody", 1);
  for (const std::string& caller : {std::string("device-0"), std::string("device-7"),
                                    devices_[0].caller(), NoMember(&random)}) {
    const auto later = fleet_->service().GetRound(caller, query);
    ASSERT_TRUE(later.ok()) << later.status();
    ASSERT_EQ(later->rounds.size(), 3u);
    for (size_t b = 0; b < 3; ++b) {
      EXPECT_EQ(later->rounds[b].description, first->rounds[b].description);
      EXPECT_EQ(later->rounds[b].signature, first->rounds[b].signature);
    }
  }
}

TEST_F(RoutedRoundsTest, UnnamedCallersOpenNothing) {
  SeededRandom random("nobody", 1);
  const RoundQuery query = {.base_fingerprint = fleet_->base(), .catalog_version = 1};
  const auto offer = fleet_->service().GetRound(NoMember(&random), query);
  ASSERT_TRUE(offer.ok()) << offer.status();
  EXPECT_TRUE(offer->rounds.empty());
  EXPECT_TRUE(Rounds().empty());
}

TEST_F(RoutedRoundsTest, AllBucketsMakeOneCatalog) {
  Join();
  EndStep();
  Share();
  Mask();
  // The first two buckets end; the third goes on.
  Finish({0, 1, 2, 3, 4, 5});
  EXPECT_THAT(Statuses(), ElementsAre(RoundStatus::kDone, RoundStatus::kDone, RoundStatus::kOpen));
  EXPECT_EQ(fleet_->LatestCatalog().version, 1u);
  EXPECT_EQ(fleet_->store().KeptSums("voices", 1)->size(), 2u);
  EXPECT_EQ(devices_[0].Poll()->phase, RoundPhase::kDone);
  Finish({6, 7, 8});
  EXPECT_THAT(Statuses(), testing::Each(RoundStatus::kDone));
  EXPECT_EQ(fleet_->LatestCatalog().version, 2u);
  ExpectPersonas({0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f});
  EXPECT_TRUE(fleet_->store().KeptSums("voices", 1)->empty());
  const auto report = nlohmann::json::parse(Rounds().front().report);
  EXPECT_EQ(report["catalog_version"], 2);
  EXPECT_EQ(report["rounds_merged"], 3);
  ASSERT_EQ(report["personas"].size(), 6u);
  EXPECT_NEAR(report["personas"][0]["noisy_count"].get<double>(), 2, 0.1);
  EXPECT_NEAR(report["personas"][1]["noisy_count"].get<double>(), 1, 0.1);
  EXPECT_NEAR(report["mean_loss_before"].get<double>(), 3, 0.3);
  EXPECT_NEAR(report["mean_loss_after"].get<double>(), 2, 0.3);
}

TEST_F(RoutedRoundsTest, TheNextSweepOpensWhenAllOfThisOneMustBeOver) {
  RunSweep();
  ASSERT_EQ(fleet_->LatestCatalog().version, 2u);
  const absl::Time opened = Rounds().back().opened;
  fleet_->clock().Set(opened + absl::Seconds(49));
  EXPECT_EQ(devices_[0].Join(2).code(), absl::StatusCode::kNotFound);
  fleet_->clock().Set(opened + absl::Seconds(50));
  EXPECT_TRUE(devices_[0].Join(2).ok());
  EXPECT_EQ(Rounds().size(), 6u);
  EXPECT_EQ(devices_[0].round().round_number, 4u);
  EXPECT_EQ(fleet_->store().ListLedger("voices")->back().sweep, 4u);
}

TEST_F(RoutedRoundsTest, ABucketThatIsTooSmallStaysAsItIs) {
  const std::vector<int> others = {0, 1, 2, 6, 7, 8};
  Join({0, 1, 2, 3, 4, 6, 7, 8});
  EndStep();
  EXPECT_THAT(Statuses(),
              ElementsAre(RoundStatus::kOpen, RoundStatus::kAborted, RoundStatus::kOpen));
  Share(others);
  Mask(others);
  Finish(others);
  EXPECT_EQ(fleet_->LatestCatalog().version, 2u);
  ExpectPersonas({0.5f, 0.5f, 0, 0, 0.5f, 0.5f});
  const auto ledger = *fleet_->store().ListLedger("voices");
  EXPECT_TRUE(ledger[0].spent && !ledger[1].spent && ledger[2].spent);
}

// The round that ends last is aborted, and releases what the others gave.
TEST_F(RoutedRoundsTest, ABucketThatAbortsLastLosesNobodyElsesSum) {
  Join();
  EndStep();
  Share();
  Mask({0, 1, 2, 3, 4, 5, 6});
  Finish({0, 1, 2, 3, 4, 5});
  EXPECT_EQ(fleet_->LatestCatalog().version, 1u);
  fleet_->Restart();
  EndStep(3);
  EXPECT_THAT(Statuses(),
              ElementsAre(RoundStatus::kDone, RoundStatus::kDone, RoundStatus::kAborted));
  EXPECT_EQ(fleet_->LatestCatalog().version, 2u);
  ExpectPersonas({0.5f, 0.5f, 0.5f, 0.5f, 0, 0});
  EXPECT_THAT(Rounds().front().message, HasSubstr("expected at least 3 clients, got 1"));
}

TEST_F(RoutedRoundsTest, NothingIsReleasedWhereNothingWasSummed) {
  Join({0, 1, 3});
  EndStep();
  EXPECT_THAT(Statuses(), testing::Each(RoundStatus::kAborted));
  EXPECT_EQ(fleet_->LatestCatalog().version, 1u);
  EXPECT_EQ(SpentRounds(&fleet_->store(), "voices").value(), 0);
  fleet_->clock().Advance(absl::Seconds(60));
  EXPECT_TRUE(devices_[6].Join().ok());
  EXPECT_EQ(Rounds().size(), 6u);
}

TEST_F(RoutedRoundsTest, GoesOnAfterBeingKilledBetweenAnyTwoMessages) {
  RunSweep();
  ASSERT_EQ(fleet_->LatestCatalog().version, 2u);
  const std::string calm = CatalogHash(fleet_->LatestCatalog());
  const size_t releases = fleet_->store().ListReleases()->size();
  devices_.clear();
  fleet_ = std::make_unique<TestFleet>(RoutedFleet());
  devices_ = Devices(fleet_.get());
  between_ = [this] {
    fleet_->Restart();
    fleet_->service().Tick();
  };
  RunSweep();
  EXPECT_THAT(Statuses(), testing::Each(RoundStatus::kDone));
  // Neither lost nor counted twice: what was killed gives what was not.
  EXPECT_EQ(CatalogHash(fleet_->LatestCatalog()), calm);
  EXPECT_EQ(fleet_->store().ListReleases()->size(), releases);
}

// Devices fall silent in every step, one in each bucket of four.
TEST_F(RoutedRoundsTest, CompletesWithoutDevicesThatFellSilent) {
  for (size_t i = 9; i < 12; ++i) {
    devices_.emplace_back(fleet_.get(), static_cast<int>(i));
    devices_.back().set_persona(2 * static_cast<int>(i - 9));
  }
  Join({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  Share({0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11});  // 9, of the first bucket, is gone
  EndStep(2);
  Mask({0, 1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_TRUE(devices_[11].Mask(4, 0.5f).ok());  // 10, of the second, is gone
  EndStep(3);
  fleet_->Restart();
  Acknowledge();  // 11, of the third, is gone; it was summed
  EndStep(4);
  Unmask();
  EXPECT_THAT(Statuses(), testing::Each(RoundStatus::kDone));
  std::vector<uint32_t> survivors;
  for (const RoundRecord& round : Rounds())
    survivors.insert(survivors.begin(), round.survivor_count);
  EXPECT_THAT(survivors, ElementsAre(3u, 3u, 4u));
  EXPECT_EQ(fleet_->LatestCatalog().version, 2u);
  ExpectPersonas({0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f});
}

TEST_F(RoutedRoundsTest, APublishedCatalogWinsOverTheSweeps) {
  Join();
  EndStep();
  Share();
  Mask();
  Finish({0, 1, 2});
  const std::string path = fleet_->directory() + "/catalog-7.gguf";
  ASSERT_TRUE(WriteCatalog(TinyCatalog(fleet_->base(), 7, 6), path).ok());
  ASSERT_TRUE(fleet_->publisher().PublishCatalog(path, "voices").ok());
  Finish({3, 4, 5, 6, 7, 8});
  EXPECT_EQ(fleet_->LatestCatalog().version, 7u);
  EXPECT_EQ(Rounds().front().status, RoundStatus::kAborted);
  EXPECT_THAT(Rounds().front().message, HasSubstr("another catalog was published"));
  EXPECT_TRUE(fleet_->store().KeptSums("voices", 1)->empty());
  EXPECT_EQ(SpentRounds(&fleet_->store(), "voices").value(), 1);
}

// Three rounds are open, and one is counted: a second sweep would be the second.
TEST(RoutedBudgetTest, ASweepCountsOnce) {
  TaskConfig task;
  task.cohort_min = 3;
  task.cohort_max = 4;
  task.corrupt_fraction = 0;
  task.clip_norm = 10;
  task.noise_multiplier = 2;
  const CatalogShape shape = {.hash = std::string(64, 'b'), .persona_count = 2, .block_size = 4};
  const RoundDescription round = PlanRound(task, shape).value();
  const double one = EpsilonOfRounds(task, round, 1).value();
  const double two = EpsilonOfRounds(task, round, 2).value();
  ASSERT_LT(one, two);
  FleetOptions options = RoutedFleet();
  options.noise_multiplier = 2;
  options.epsilon_budget = (one + two) / 2;
  TestFleet fleet(options);
  auto devices = Devices(&fleet);
  ASSERT_TRUE(devices[0].Join().ok());
  EXPECT_EQ(fleet.store().ListLedger("voices")->size(), 3u);
  EXPECT_EQ(SpentRounds(&fleet.store(), "voices").value(), 1);
  for (size_t i = 1; i < devices.size(); ++i) ASSERT_TRUE(devices[i].Join().ok());
  fleet.clock().Advance(absl::Seconds(10));
  for (TestDevice& device : devices) ASSERT_TRUE(device.Share().ok());
  for (size_t i = 0; i < devices.size(); ++i) ASSERT_TRUE(devices[i].Mask(PersonaOf(i), 1).ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Acknowledge().ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Unmask().ok());
  ASSERT_EQ(fleet.LatestCatalog().version, 2u);
  fleet.clock().Advance(absl::Seconds(100));
  EXPECT_EQ(devices[0].Join(2).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fleet.store().ListRounds("voices")->size(), 3u);
}

}  // namespace
}  // namespace lorikeet
