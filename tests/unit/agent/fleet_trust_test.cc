// What an agent believes, and the coordinators it sees through.
#include "device/agent/fleet_trust.h"

#include "tests/support/shared_data.h"
#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

class FleetTrustTest : public AgentTest {
 protected:
  // A newer catalog than the installed one, answered to the agent's next look.
  void OfferNext() {
    next_ = release_;
    next_.version = 2;
    next_.content = SerializeCatalog(TinyCatalog(kTestBase, 2));
    AnswerOk(RoundOffer{{}, absl::Seconds(1)});
    reports_.clear();
    Wake();
    if (Requested<ReleaseQuery>()) AnswerOk(Sign(next_));
  }
  TestRelease next_;
};

// The coordinator keeps a log for the others and one for this device.
TEST_F(FleetTrustTest, AnotherViewOfTheLogIsNoticed) {
  GoToSeek();
  const TreeHead seen = *store_.Load()->tree_head;
  vouching_.Fork();
  OfferNext();
  EXPECT_EQ(Requested<ChunkQuery>(), nullptr) << "not a byte of it is fetched";
  EXPECT_THAT(Reports("refused"), HasSubstr("two views of one log were shown"));
  EXPECT_EQ(agent_->state().catalog->version, 1u);
  EXPECT_EQ(store_.Load()->tree_head, seen) << "the first view stays what is compared with";
  // Nor does it join a round of that view.
  ASSERT_NE(Requested<RoundQuery>(), nullptr);
  OfferRound(StrictRound(catalog_, 1, clock_.Now()));
  EXPECT_EQ(Requested<JoinRequest>(), nullptr);
  EXPECT_THAT(Reports("refused"), HasSubstr("rounds: log: "));
}

TEST_F(FleetTrustTest, ARoundThatIsNotInTheLogIsLeftOut) {
  GoToSeek();
  vouch_ = false;
  OfferRound(StrictRound(catalog_, 1, clock_.Now()));
  const LogQuery* query = Requested<LogQuery>();
  ASSERT_NE(query, nullptr);
  LogQuery other = *query;
  other.entries[0].content[0] ^= 1;
  AnswerOk(vouching_.Prove(other, clock_.Now()));
  EXPECT_THAT(Reports("refused"), HasSubstr("is not in the tree"));
  EXPECT_EQ(Requested<JoinRequest>(), nullptr);
  EXPECT_TRUE(store_.Load()->ledger.entries.empty()) << "and costs nothing";
}

// Somebody between device and coordinator holds back everything newer.
TEST_F(FleetTrustTest, FrozenMetadataIsNoticed) {
  GoToSeek();
  const TrustUpdate old = vouching_.Answer(clock_.Now());
  vouch_ = false;
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  clock_.Advance(absl::Hours(73));
  Wake();
  ASSERT_NE(Requested<TrustQuery>(), nullptr);
  AnswerOk(old);
  EXPECT_THAT(Reports("refused"), HasSubstr("timestamp metadata: expected one that is valid"));
  ASSERT_NE(Requested<RoundQuery>(), nullptr);
  OfferRound(StrictRound(catalog_, 1, clock_.Now()));
  EXPECT_EQ(Requested<LogQuery>(), nullptr);
  EXPECT_THAT(Reports("refused"), HasSubstr("(frozen?)")) << "its keys may be revoked by now";
}

TEST_F(FleetTrustTest, ManifestsAreOldOrNewButListed) {
  GoToSeek();
  list_ = false;
  OfferNext();
  EXPECT_THAT(Reports("refused"), HasSubstr("expected the hash"));
  EXPECT_EQ(Requested<LogQuery>(), nullptr);
  EXPECT_EQ(agent_->state().catalog->version, 1u);
}

TEST_F(FleetTrustTest, WhatIsTrustedSurvivesARestart) {
  GoToSeek();
  const AgentState state = store_.Load().value();
  ASSERT_TRUE(state.trust && state.tree_head);
  const auto disk = DirectoryAgentStore::Open(MakeTempDir("trust")).value();
  ASSERT_TRUE(disk->Save(state).ok());
  const auto loaded = disk->Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->trust->pinned, state.trust->pinned);
  EXPECT_EQ(loaded->trust->documents, state.trust->documents);
  EXPECT_EQ(loaded->tree_head, state.tree_head);
  AgentState again = *loaded;
  const auto trust = FleetTrust::Create(vouching_.root(), &again);
  ASSERT_TRUE(trust.ok()) << trust.status();
  EXPECT_GT(trust->NextQuery().targets_version, 0u);
  // Enrolled in another fleet: nothing of the first one counts.
  const auto elsewhere = FleetTrust::Create(TrustRepository(9).SignedRoot(), &again);
  ASSERT_TRUE(elsewhere.ok());
  EXPECT_EQ(elsewhere->NextQuery().targets_version, 0u);
  EXPECT_FALSE(again.tree_head.has_value());
}

}  // namespace
}  // namespace lorikeet
