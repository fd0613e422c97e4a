// Three coordinators over one store, any of which a device may call: one runs the rounds, and when
// it dies or is paused another goes on where it was.  Over SQLite and over PostgreSQL.
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/strings.h"
#include "coordinator/rounds/leadership.h"
#include "tests/unit/coordinator/store_backend.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using testing::HasSubstr;

constexpr int kReplicas = 3, kDevices = 3, kSteps = 5;
constexpr absl::Duration kLease = absl::Milliseconds(300);

struct TestReplica {
  ManualClock clock{absl::FromUnixSeconds(1700000000)};
  std::unique_ptr<SqlStore> store;
  std::optional<Leadership> leadership;
  std::unique_ptr<Coordinator> coordinator;
};

// What the servers do with a call: whichever is called hands it on to the one that runs the rounds.
// A device that is told UNAVAILABLE tries another.
class Entrance final : public FederationService {
 public:
  explicit Entrance(std::array<TestReplica, kReplicas>* replicas) : replicas_(replicas) {}

  absl::StatusOr<HelloResult> Hello(const DeviceId& d, uint32_t version) override {
    return Any<absl::StatusOr<HelloResult>>([&](Coordinator& c) { return c.Hello(d, version); });
  }
  absl::StatusOr<SignedManifest> GetRelease(const DeviceId& d, const ReleaseQuery& q) override {
    return Any<absl::StatusOr<SignedManifest>>([&](Coordinator& c) { return c.GetRelease(d, q); });
  }
  absl::StatusOr<ChunkResult> FetchChunk(const DeviceId& d, const ChunkQuery& q) override {
    return Any<absl::StatusOr<ChunkResult>>([&](Coordinator& c) { return c.FetchChunk(d, q); });
  }
  absl::StatusOr<TrustUpdate> GetTrust(const DeviceId& d, const TrustQuery& q) override {
    return Any<absl::StatusOr<TrustUpdate>>([&](Coordinator& c) { return c.GetTrust(d, q); });
  }
  absl::StatusOr<LogEvidence> GetLogProof(const DeviceId& d, const LogQuery& q) override {
    return Any<absl::StatusOr<LogEvidence>>([&](Coordinator& c) { return c.GetLogProof(d, q); });
  }
  absl::StatusOr<RoundOffer> GetRound(const DeviceId& d, const RoundQuery& q) override {
    return Lead<absl::StatusOr<RoundOffer>>([&](Coordinator& c) { return c.GetRound(d, q); });
  }
  absl::StatusOr<uint32_t> AdvertiseKeys(const DeviceId& d, const JoinRequest& r) override {
    return Lead<absl::StatusOr<uint32_t>>([&](Coordinator& c) { return c.AdvertiseKeys(d, r); });
  }
  absl::Status ShareKeys(const DeviceId& d, const ShareKeysMessage& m) override {
    return Lead<absl::Status>([&](Coordinator& c) { return c.ShareKeys(d, m); });
  }
  absl::Status SubmitMaskedUpdate(const DeviceId& d, const MaskedUpdate& m) override {
    return Lead<absl::Status>([&](Coordinator& c) { return c.SubmitMaskedUpdate(d, m); });
  }
  absl::Status Acknowledge(const DeviceId& d, const Acknowledgement& m) override {
    return Lead<absl::Status>([&](Coordinator& c) { return c.Acknowledge(d, m); });
  }
  absl::Status Unmask(const DeviceId& d, const UnmaskResponse& m) override {
    return Lead<absl::Status>([&](Coordinator& c) { return c.Unmask(d, m); });
  }
  absl::StatusOr<PollResult> Poll(const DeviceId& d, const PollQuery& q) override {
    return Lead<absl::StatusOr<PollResult>>([&](Coordinator& c) { return c.Poll(d, q); });
  }

 private:
  static bool IsDown(const absl::Status& status) { return absl::IsUnavailable(status); }
  template <typename T>
  static bool IsDown(const absl::StatusOr<T>& result) {
    return absl::IsUnavailable(result.status());
  }
  Coordinator* Next() {
    called_ = (called_ + 1) % kReplicas;
    return replicas_->at(static_cast<size_t>(called_)).coordinator.get();
  }
  template <typename Result, typename Call>
  Result Any(const Call& call) {
    Result result = absl::UnavailableError("no replica lives");
    for (int i = 0; i < kReplicas && IsDown(result); ++i) {
      if (Coordinator* coordinator = Next()) result = call(*coordinator);
    }
    return result;
  }
  template <typename Result, typename Call>
  Result Lead(const Call& call) {
    return Any<Result>([&](Coordinator& called) -> Result {
      const auto leader = called.Leader();
      if (!leader.ok()) return leader.status();
      if (leader->empty()) return call(called);
      Coordinator* other = replicas_->at(static_cast<size_t>(std::stoi(*leader))).coordinator.get();
      if (other == nullptr) return absl::UnavailableError("the replica does not answer");
      return call(*other);
    });
  }
  std::array<TestReplica, kReplicas>* replicas_;
  int called_ = 0;
};

class ReplicasTest : public StoreBackendTest {
 protected:
  void SetUp() override {
    StoreBackendTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    FleetOptions options;
    options.cohort_min = options.cohort_max = kDevices;
    options.store = place_;
    fleet_.emplace(options);
    for (int i = 0; i < kReplicas; ++i) StartReplica(i);
    entrance_.emplace(&replicas_);
    fleet_->Redirect(&*entrance_);
    for (int i = 0; i < kDevices; ++i) devices_.emplace_back(&*fleet_, i);
  }

  void StartReplica(int index) {
    TestReplica& replica = replicas_[static_cast<size_t>(index)];
    replica.store = OpenStore(place_, false).value();
    replica.leadership.emplace(Leadership::Options{.store = replica.store.get(),
                                                   .clock = &replica.clock,
                                                   .random = &random_,
                                                   .address = absl::StrCat(index),
                                                   .duration = kLease});
    replica.coordinator = fleet_->Replica(
        replica.store.get(),
        {.leadership = &*replica.leadership, .clock = &replica.clock, .random = &random_});
  }
  // As kill -9: nothing is given up.
  void Kill(int index) { replicas_[static_cast<size_t>(index)].coordinator.reset(); }

  // Time goes by for all replicas but `paused`, by their clocks and by the database's.
  void Wait(absl::Duration duration, int paused = -1) {
    for (int i = 0; i < kReplicas; ++i) {
      if (i != paused) replicas_[static_cast<size_t>(i)].clock.Advance(duration);
    }
    if (GetParam() == StoreBackend::kPostgres) absl::SleepFor(duration);
  }
  int Leader() {
    for (int i = 0; i < kReplicas; ++i) {
      const TestReplica& replica = replicas_[static_cast<size_t>(i)];
      if (replica.coordinator == nullptr) continue;
      const auto leader = replica.coordinator->Leader();
      if (leader.ok()) return leader->empty() ? i : std::stoi(*leader);
    }
    return -1;
  }
  absl::Status Take(int step, TestDevice* device) {
    switch (step) {
      case 0:
        return device->Join();
      case 1:
        return device->Share();
      case 2:
        return device->Mask(0, 0.5f);
      case 3:
        return device->Acknowledge();
      default:
        return device->Unmask();
    }
  }
  void TakeAll(int step) {
    for (TestDevice& device : devices_) {
      const absl::Status status = Take(step, &device);
      ASSERT_TRUE(status.ok()) << "step " << step << ": " << status;
    }
  }
  void ExpectRoundDone() {
    const RoundRecord round = fleet_->LatestRound();
    EXPECT_EQ(round.status, RoundStatus::kDone) << round.message;
    EXPECT_EQ(round.number, 1u);
    EXPECT_EQ(round.survivor_count, static_cast<uint32_t>(kDevices));
    const Catalog catalog = fleet_->LatestCatalog();
    EXPECT_EQ(catalog.version, 2u);
    // Everybody's contribution once: the mean is what each gave.
    EXPECT_NEAR(catalog.personas[0].cores[0], 0.5, 0.05);
    EXPECT_EQ(fleet_->store().ListLedger("")->size(), 1u);
    for (const TestReplica& replica : replicas_) {
      if (replica.coordinator != nullptr) replica.coordinator->Resign();
    }
  }

  SeededRandom random_{"replicas", 1};
  std::optional<TestFleet> fleet_;
  std::array<TestReplica, kReplicas> replicas_;
  std::optional<Entrance> entrance_;
  std::vector<TestDevice> devices_;
};
LORIKEET_INSTANTIATE_STORE_TEST(ReplicasTest);

TEST_P(ReplicasTest, ARoundWhoseEveryCallHitsAnotherReplica) {
  for (int step = 0; step < kSteps; ++step) TakeAll(step);
  ExpectRoundDone();
}

TEST_P(ReplicasTest, OnlyOneRunsTheRoundsAndTheOthersSayWho) {
  const int leader = Leader();
  for (int i = 0; i < kReplicas; ++i) {
    Coordinator& replica = *replicas_[static_cast<size_t>(i)].coordinator;
    RoundQuery query;
    query.base_fingerprint = fleet_->base();
    query.catalog_version = 1;
    const auto offer = replica.GetRound("device-0", query);
    if (i == leader) {
      EXPECT_TRUE(offer.ok()) << offer.status();
      continue;
    }
    EXPECT_EQ(offer.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(Message(offer.status())),
                HasSubstr(absl::StrCat("runs the rounds, which is ", leader)));
    EXPECT_EQ(*replica.Leader(), absl::StrCat(leader));
    EXPECT_TRUE(replica.Hello("device-0", 1).ok());  // what is not about rounds
  }
  EXPECT_EQ(fleet_->store().OpenRounds()->size(), 1u);
}

TEST_P(ReplicasTest, ResigningHandsTheRoundsOnAtOnce) {
  TakeAll(0);
  const int before = Leader();
  replicas_[static_cast<size_t>(before)].coordinator->Resign();
  Wait(kLease / 2, before);  // the others look again before the lease would have ended
  EXPECT_NE(Leader(), before);
  for (int step = 1; step < kSteps; ++step) TakeAll(step);
  ExpectRoundDone();
}

// Two of three are killed, one in the middle of each step's messages.
TEST_P(ReplicasTest, ARoundOutlivesItsKilledReplicas) {
  for (int step = 0; step < kSteps; ++step) {
    ASSERT_TRUE(Take(step, &devices_[0]).ok()) << step;
    if (step == 1 || step == 3) {
      Kill(Leader());
      const absl::Status early = Take(step, &devices_[1]);
      EXPECT_EQ(early.code(), absl::StatusCode::kUnavailable) << early;
      Wait(kLease * 2);
    }
    for (int i = 1; i < kDevices; ++i) {
      const absl::Status status = Take(step, &devices_[static_cast<size_t>(i)]);
      ASSERT_TRUE(status.ok()) << "step " << step << ": " << status;
    }
  }
  ExpectRoundDone();
}

// At each step the replica that runs the rounds is paused in the middle, misses that it was
// replaced, wakes, and takes a message as if nothing had happened.
TEST_P(ReplicasTest, APausedReplicaThatWakesStoresNothing) {
  for (int step = 0; step < kSteps; ++step) {
    ASSERT_TRUE(Take(step, &devices_[0]).ok()) << step;
    const int paused = Leader();
    Wait(kLease * 2, paused);
    // Somebody else's call makes another replica look, and take over.
    fleet_->Redirect(replicas_[static_cast<size_t>((paused + 1) % kReplicas)].coordinator.get());
    ASSERT_TRUE(Take(step, &devices_[1]).ok()) << step;

    TestReplica& awake = replicas_[static_cast<size_t>(paused)];
    ASSERT_TRUE(awake.leadership->leading());  // so it thinks
    fleet_->Redirect(awake.coordinator.get());
    const absl::Status late = Take(step, &devices_[2]);
    // In the last step the sum needs only two of the three: the round is over for the third.
    const bool over = step == kSteps - 1 && late.ok();
    EXPECT_TRUE(over || absl::IsUnavailable(late)) << "step " << step << ": " << late;
    if (!over) {
      EXPECT_THAT(std::string(Message(late)), HasSubstr("has taken over"));
    }
    // It has noticed.
    awake.clock.Advance(kLease * 2);
    fleet_->Redirect(&*entrance_);
    const absl::Status again = Take(step, &devices_[2]);
    ASSERT_TRUE(again.ok()) << "step " << step << ": " << again;
    EXPECT_NE(Leader(), -1);
  }
  ExpectRoundDone();
}

// The database is killed in the middle of a round; who was told OK is in the sum.
TEST_P(ReplicasTest, ARoundOutlivesItsDatabase) {
  if (GetParam() == StoreBackend::kSqlite) GTEST_SKIP() << "SQLite has no server";
  for (int step = 0; step < kSteps; ++step) {
    ASSERT_TRUE(Take(step, &devices_[0]).ok()) << step;
    server_->Kill();
    const absl::Status away = Take(step, &devices_[1]);
    EXPECT_TRUE(absl::IsUnavailable(away)) << away;
    ASSERT_TRUE(server_->Restart().ok());
    Wait(kLease * 2);
    for (int i = 1; i < kDevices; ++i) {
      const absl::Status status = Take(step, &devices_[static_cast<size_t>(i)]);
      ASSERT_TRUE(status.ok()) << "step " << step << ": " << status;
    }
  }
  ExpectRoundDone();
}

}  // namespace
}  // namespace lorikeet
