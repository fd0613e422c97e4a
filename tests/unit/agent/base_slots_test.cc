// A new base takes the place of the old one only after its check, and gives it back.
#include "device/agent/base_slots.h"

#include "common/base/file.h"
#include "tests/support/shared_data.h"
#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1700000000);

InstalledRelease Release(uint64_t version) {
  return {version, Blake2b(AsBytes(std::to_string(version))), kTestBase};
}

TEST(BaseSlotsTest, ACandidateThatIsAcceptedCanBeRolledBackUntilItSettles) {
  BaseSlots slots;
  std::optional<InstalledRelease> base;
  slots.Propose(Release(1));
  ASSERT_TRUE(slots.BeginCheck(kNow));
  slots.Accept(&base);
  EXPECT_EQ(base->version, 1u);
  EXPECT_FALSE(slots.RollBack("no other", kNow, &base)) << "the first has no previous one";
  slots.Propose(Release(2));
  ASSERT_TRUE(slots.BeginCheck(kNow));
  EXPECT_EQ(slots.Files(base).size(), 2u);
  slots.Accept(&base);
  EXPECT_EQ(base->version, 2u);
  EXPECT_EQ(slots.previous->version, 1u);
  ASSERT_TRUE(slots.RollBack("broke down", kNow, &base));
  EXPECT_EQ(base->version, 1u);
  EXPECT_EQ(slots.refused->release.version, 2u);
  EXPECT_EQ(slots.refused->reason, "broke down");
  EXPECT_TRUE(slots.IsRefused(Release(2).file_hash));
  slots.Propose(Release(3));
  ASSERT_TRUE(slots.BeginCheck(kNow));
  slots.Accept(&base);
  slots.Settle();
  EXPECT_FALSE(slots.RollBack("too late", kNow, &base));
  EXPECT_EQ(base->version, 3u);
}

TEST(BaseSlotsTest, ACheckThatNeverComesBackRefuses) {
  BaseSlots slots;
  slots.Propose(Release(1));
  EXPECT_TRUE(slots.BeginCheck(kNow));
  EXPECT_TRUE(slots.BeginCheck(kNow));
  EXPECT_FALSE(slots.BeginCheck(kNow));
  EXPECT_FALSE(slots.candidate);
  EXPECT_THAT(slots.refused->reason, HasSubstr("did not come back, 2 times"));
}

TEST(BaseSlotsTest, TheStateFileKeepsThem) {
  const auto store = DirectoryAgentStore::Open(MakeTempDir("slots")).value();
  AgentState state;
  state.slots.Propose(Release(4));
  ASSERT_TRUE(state.slots.BeginCheck(kNow));
  state.slots.previous = Release(3);
  state.slots.on_trial = true;
  state.slots.refused = {.release = Release(2), .reason = "slow", .at = kNow};
  ASSERT_TRUE(store->Save(state).ok());
  const BaseSlots back = store->Load()->slots;
  EXPECT_EQ(back.candidate->file_hash, Release(4).file_hash);
  EXPECT_EQ(back.checks_begun, 1);
  EXPECT_EQ(back.previous->version, 3u);
  EXPECT_TRUE(back.on_trial);
  EXPECT_EQ(back.refused->reason, "slow");
  EXPECT_EQ(back.refused->at, kNow);
}

// An agent that follows bases, with the first one in use and its catalog personalized.
class BaseSwitchTest : public AgentTest {
 protected:
  BaseSwitchTest() {
    options_.base_fingerprint = "";
    for (const uint64_t version : {1, 2, 3}) {
      TestRelease& base = bases_[version];
      base.kind = ReleaseKind::kBase;
      base.version = version;
      base.base_fingerprint = std::string(64, static_cast<char>('a' + version));
      base.content = std::string(2000, static_cast<char>('0' + version));
      catalogs_[version] = release_;
      catalogs_[version].base_fingerprint = base.base_fingerprint;
      catalogs_[version].content = SerializeCatalog(TinyCatalog(base.base_fingerprint, 1));
    }
  }
  void UseFirst() {
    MakeAgent();
    Start();
    AnswerHello();
    AnswerRelease(bases_[1]);
    AnswerBaseChecked({.healthy = true, .summary = "fine"});
    AnswerRelease(catalogs_[1]);
    AnswerPersonalized();
    ASSERT_NE(Requested<RoundQuery>(), nullptr);
    AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  }
  void FetchSecond() {
    Wake();
    ASSERT_NE(Requested<ReleaseQuery>(), nullptr);
    EXPECT_EQ(Requested<ReleaseQuery>()->kind, ReleaseKind::kBase) << "a newer base is looked for";
    AnswerRelease(bases_[2]);
    ASSERT_TRUE(check_base_);
    EXPECT_EQ(check_base_->candidate.version, 2u);
    EXPECT_EQ(check_base_->current_file, bases_[1].File().hash);
  }
  uint64_t InUse() const { return agent_->state().base->version; }

  std::map<uint64_t, TestRelease> bases_, catalogs_;
};

TEST_F(BaseSwitchTest, AHealthyBaseIsSwitchedToAndTheOldOneKept) {
  UseFirst();
  FetchSecond();
  EXPECT_EQ(InUse(), 1u) << "until the check is done";
  AnswerBaseChecked({.healthy = true, .summary = "loads, 1.02 of the speed"});
  EXPECT_EQ(InUse(), 2u);
  EXPECT_THAT(Reports("base"), HasSubstr("version 2 is in use: loads, 1.02 of the speed"));
  AnswerRelease(catalogs_[2]);
  ASSERT_TRUE(personalize_) << "the owner's adapter is made anew";
  EXPECT_EQ(personalize_->base_file, bases_[2].File().hash);
  EXPECT_TRUE(store_.HasFile(bases_[1].File().hash));
  AnswerPersonalized();
  EXPECT_FALSE(agent_->state().slots.on_trial);
}

TEST_F(BaseSwitchTest, AnUnhealthyBaseIsNeitherUsedNorFetchedAgain) {
  UseFirst();
  FetchSecond();
  AnswerBaseChecked({.healthy = false, .summary = "it generates at 0.20 of the speed"});
  EXPECT_EQ(InUse(), 1u);
  EXPECT_THAT(Reports("rolled_back"), HasSubstr("base version 2 failed its health check: it gen"));
  EXPECT_EQ(agent_->state().slots.refused->reason, "it generates at 0.20 of the speed");
  AnswerRelease(catalogs_[1]);
  ASSERT_NE(Requested<RoundQuery>(), nullptr) << "the old one works on";
  EXPECT_FALSE(store_.HasFile(bases_[2].File().hash));
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  Wake();
  AnswerOk(Sign(bases_[2]));
  EXPECT_EQ(Requested<ChunkQuery>(), nullptr) << "the same again";
  AnswerRelease(catalogs_[1]);
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  Wake();
  AnswerRelease(bases_[3]);
  ASSERT_TRUE(check_base_) << "a newer one is tried";
  EXPECT_EQ(check_base_->candidate.version, 3u);
}

TEST_F(BaseSwitchTest, ABaseThatBreaksDownAtWorkIsRolledBack) {
  UseFirst();
  FetchSecond();
  AnswerBaseChecked({.healthy = true, .summary = ""});
  AnswerRelease(catalogs_[2]);
  ASSERT_TRUE(personalize_);
  Step(PersonalizeDone{absl::ResourceExhaustedError("no memory to train on it")});
  EXPECT_FALSE(stopped_);
  EXPECT_EQ(InUse(), 1u);
  EXPECT_THAT(Reports("rolled_back"), HasSubstr("base version 1 is in use again: no memory"));
  AnswerRelease(catalogs_[1]);
  ASSERT_TRUE(personalize_);
  EXPECT_EQ(personalize_->base_file, bases_[1].File().hash);
}

// What is the owner's to mend is no reason to go back.
TEST_F(BaseSwitchTest, TooLittleTextIsNotTheBasesFault) {
  UseFirst();
  FetchSecond();
  AnswerBaseChecked({.healthy = true, .summary = ""});
  AnswerRelease(catalogs_[2]);
  Step(PersonalizeDone{absl::InvalidArgumentError("fewer than 64 tokens")});
  EXPECT_EQ(InUse(), 2u);
  EXPECT_TRUE(stopped_);
}

TEST_F(BaseSwitchTest, ACheckThatTakesTheProcessDownIsNotTriedForEver) {
  UseFirst();
  FetchSecond();
  MakeAgent();  // killed during the check
  Start();
  AnswerHello();
  ASSERT_TRUE(check_base_) << "once more";
  MakeAgent();
  Start();
  AnswerHello();
  EXPECT_FALSE(check_base_);
  EXPECT_EQ(InUse(), 1u);
  EXPECT_THAT(Reports("rolled_back"), HasSubstr("did not come back"));
  ASSERT_NE(Requested<ReleaseQuery>(), nullptr) << "goes on with the old one";
}

TEST_F(BaseSwitchTest, TheFirstBaseIsCheckedToo) {
  options_.once = true;
  MakeAgent();
  Start();
  AnswerHello();
  AnswerRelease(bases_[1]);
  ASSERT_TRUE(check_base_);
  EXPECT_EQ(check_base_->current_file, Hash256{});
  AnswerBaseChecked({.healthy = false, .summary = "it does not load"});
  ASSERT_TRUE(stopped_);
  EXPECT_THAT(std::string(stopped_->message()), HasSubstr("it does not load"));
}

}  // namespace
}  // namespace lorikeet
