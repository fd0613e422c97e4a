// The agent's state machine against answers made by hand.
#include "device/agent/agent.h"

#include <set>

#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

const absl::Status kAway = absl::UnavailableError("connection refused");

TEST_F(AgentTest, FollowsTheCatalogPersonalizesAndAsksForARound) {
  MakeAgent();
  Start();
  ASSERT_NE(Requested<HelloCall>(), nullptr);
  AnswerHello();
  ASSERT_NE(Requested<ReleaseQuery>(), nullptr);
  EXPECT_EQ(Requested<ReleaseQuery>()->base_fingerprint, kTestBase);
  AnswerRelease(release_);
  ASSERT_TRUE(personalize_);
  EXPECT_EQ(ToHex(personalize_->catalog_file), CatalogHash(catalog_));
  EXPECT_EQ(personalize_->base_file, Hash256{});
  AnswerPersonalized();
  ASSERT_NE(Requested<RoundQuery>(), nullptr);
  EXPECT_EQ(Requested<RoundQuery>()->catalog_version, 1u);
  EXPECT_EQ(store_.Load()->personal->chosen, "brief");
  AnswerOk(RoundOffer{{}, absl::Seconds(3)});
  Wake();  // nothing new: no second personalization
  AnswerRelease(release_);
  EXPECT_FALSE(personalize_);
  EXPECT_NE(Requested<RoundQuery>(), nullptr);
}

TEST_F(AgentTest, FollowsTheBaseReleaseInChunksFirst) {
  options_.base_fingerprint.clear();
  MakeAgent();
  Start();
  AnswerHello();
  EXPECT_EQ(Requested<ReleaseQuery>()->kind, ReleaseKind::kBase);
  TestRelease base{.kind = ReleaseKind::kBase, .content = std::string(5000, 'x')};
  AnswerRelease(base);
  EXPECT_THAT(Reports("release"), HasSubstr("base version 1 installed, 5000 bytes fetched"));
  ASSERT_TRUE(check_base_) << "tried before it is used";
  AnswerBaseChecked({.healthy = true, .summary = "fine"});
  ASSERT_NE(Requested<ReleaseQuery>(), nullptr);
  EXPECT_EQ(Requested<ReleaseQuery>()->kind, ReleaseKind::kCatalog);
  EXPECT_EQ(Requested<ReleaseQuery>()->base_fingerprint, kTestBase);
  AnswerRelease(release_);
  EXPECT_EQ(personalize_->base_file, base.File().hash);
}

TEST_F(AgentTest, RetriesTheSameRequestWithGrowingCappedJitteredBackoff) {
  options_.retry_base = absl::Seconds(1);
  options_.retry_cap = absl::Seconds(8);
  MakeAgent();
  Start();
  const uint64_t id = call_->id;
  for (const int limit : {1, 2, 4, 8, 8, 8}) {
    Answer({kAway, {}});
    ASSERT_TRUE(wake_);
    EXPECT_GE(*wake_ - clock_.Now(), absl::Seconds(limit) / 2) << limit;
    EXPECT_LT(*wake_ - clock_.Now(), absl::Seconds(limit)) << limit;
    Wake();
    ASSERT_NE(Requested<HelloCall>(), nullptr);
    EXPECT_EQ(call_->id, id);
  }
  AnswerHello();  // an answer ends the row of failures
  Answer({absl::DeadlineExceededError("slow"), {}});
  EXPECT_LT(*wake_ - clock_.Now(), absl::Seconds(1));
  EXPECT_THAT(Reports("retry"), HasSubstr("GetRelease: slow"));
}

TEST_F(AgentTest, DevicesThatFailedTogetherComeBackApart) {
  std::set<absl::Time> wakes;
  for (int i = 0; i < 8; ++i) {
    MakeAgent();
    Start();
    Answer({kAway, {}});
    wakes.insert(*wake_);
  }
  EXPECT_EQ(wakes.size(), 8u);
}

TEST_F(AgentTest, GivesUpWhenTheTimeIsUpNotABackoffLater) {
  options_.give_up_after = absl::Seconds(10);
  MakeAgent();
  Start();
  const absl::Time start = clock_.Now();
  Answer({kAway, {}});
  for (int i = 0; i < 100 && !stopped_; ++i) {
    Wake();
    Answer({kAway, {}});
  }
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(absl::IsUnavailable(*stopped_));
  EXPECT_EQ(stopped_->message(), "coordinator not reachable: connection refused");
  EXPECT_EQ(clock_.Now() - start, absl::Seconds(10));
}

TEST_F(AgentTest, IgnoresStaleAnswersAndEventsAfterTheStop) {
  MakeAgent();
  Start();
  const uint64_t hello = call_->id;
  Answer({kAway, {}});
  Step(CallDone{hello, {{}, HelloResult{1, 1, clock_.Now()}}});  // overtaken by its own failure
  EXPECT_FALSE(call_);
  Wake();
  AnswerHello();
  ASSERT_NE(Requested<ReleaseQuery>(), nullptr);
  const uint64_t release = call_->id;
  call_.reset();
  Step(CallDone{hello, {absl::PermissionDeniedError("old"), {}}});
  EXPECT_FALSE(stopped_);
  Step(PersonalizeDone{absl::InternalError("not asked for")});
  Step(ContributionDone{{}, absl::InternalError("not asked for")});
  EXPECT_FALSE(stopped_);
  Step(CallDone{release, {absl::PermissionDeniedError("device is revoked"), {}}});
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(absl::IsPermissionDenied(*stopped_));
  EXPECT_THAT(agent_->Step(WakeEvent{}), testing::IsEmpty());
}

TEST_F(AgentTest, StopsAtACoordinatorOfAnotherProtocol) {
  MakeAgent();
  Start();
  Answer({absl::FailedPreconditionError("expected protocol 3 or newer, got 1"), {}});
  ASSERT_TRUE(stopped_);
  EXPECT_EQ(stopped_->message(), "expected protocol 3 or newer, got 1");
}

TEST_F(AgentTest, ARefusedReleaseKeepsTheOldOne) {
  GoToSeek();
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  TestRelease next = release_;
  next.version = 2;
  next.content = SerializeCatalog(TinyCatalog(kTestBase, 2));
  SignedManifest tampered = Sign(next);
  tampered.manifest.replace(tampered.manifest.find("release\""), 7, "relaese");
  SeededRandom other_random("other", 1);
  const SigningKey other = SigningKey::Generate(&other_random);
  SignedManifest foreign = SignManifest(ParseManifest(Sign(next).manifest).value(), other);
  TestRelease expired = next;
  expired.validity = absl::Seconds(1);
  TestRelease wrong_base = next;
  wrong_base.base_fingerprint = std::string(64, 'c');
  TestRelease old = next;
  old.version = 0;
  clock_.Advance(absl::Seconds(2));
  const std::vector<SignedManifest> refused = {tampered, foreign, Sign(expired), Sign(wrong_base),
                                               Sign(old)};
  for (size_t i = 0; i < refused.size(); ++i) {
    const SignedManifest& bad = refused[i];
    list_ = i >= 2;  // the first two are not what the fleet's metadata lists, whoever signed them
    reports_.clear();
    Wake();
    ASSERT_NE(Requested<ReleaseQuery>(), nullptr);
    AnswerOk(bad);
    EXPECT_THAT(Reports("refused"), HasSubstr("catalog release: "));
    EXPECT_EQ(agent_->state().catalog->version, 1u);
    ASSERT_NE(Requested<RoundQuery>(), nullptr) << "goes on with the old catalog";
    AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  }
  Wake();
  AnswerOk(Sign(next));
  ASSERT_NE(Requested<ChunkQuery>(), nullptr);
  AnswerOk(ChunkResult{std::string(Requested<ChunkQuery>()->length, 'x'), next.content.size()});
  EXPECT_THAT(Reports("refused"), HasSubstr("chunk"));
  EXPECT_EQ(agent_->state().catalog->version, 1u);
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  Wake();  // and the right bytes are taken
  AnswerRelease(next);
  EXPECT_EQ(agent_->state().catalog->version, 2u);
  EXPECT_FALSE(store_.HasFile(release_.File().hash)) << "what is replaced is deleted";
}

TEST_F(AgentTest, DownloadResumesAfterARestart) {
  release_.chunk_bytes = 256;
  ASSERT_GT(release_.content.size(), 1024u);
  MakeAgent();
  Start();
  AnswerHello();
  AnswerOk(Sign(release_));
  for (int i = 0; i < 2; ++i) {
    AnswerOk(ChunkResult{release_.content.substr(256 * i, 256), release_.content.size()});
  }
  MakeAgent();
  Start();
  AnswerHello();
  AnswerOk(Sign(release_));
  ASSERT_NE(Requested<ChunkQuery>(), nullptr);
  EXPECT_EQ(Requested<ChunkQuery>()->offset, 512u);
  while (const auto* chunk = Requested<ChunkQuery>()) {
    AnswerOk(ChunkResult{release_.content.substr(chunk->offset, chunk->length),
                         release_.content.size()});
  }
  EXPECT_TRUE(personalize_);
}

// The owner learns of the full disk, not of a coordinator without releases.
TEST_F(AgentTest, OnceStopsWithTheReasonOfARefusedFirstRelease) {
  options_.once = true;
  store_.write_error = absl::ResourceExhaustedError("no space left on device");
  MakeAgent();
  Start();
  AnswerHello();
  AnswerRelease(release_);
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(absl::IsResourceExhausted(*stopped_));
  EXPECT_THAT(std::string(stopped_->message()), HasSubstr("no space left on device"));
}

TEST_F(AgentTest, DownloadsKeepToTheirRate) {
  release_.chunk_bytes = 256;
  options_.max_download_rate = 100;
  MakeAgent();
  Start();
  AnswerHello();
  const absl::Time begin = clock_.Now();
  AnswerOk(Sign(release_));
  while (!personalize_) {
    const auto* chunk = Requested<ChunkQuery>();
    ASSERT_NE(chunk, nullptr);
    AnswerOk(ChunkResult{release_.content.substr(chunk->offset, chunk->length),
                         release_.content.size()});
    if (wake_) Wake();
  }
  const double seconds = absl::ToDoubleSeconds(clock_.Now() - begin);
  // A second's worth may come at once, and nobody waits after the last piece.
  EXPECT_NEAR(seconds, static_cast<double>(release_.content.size()) / 100 - 1, 2.6);
}

TEST_F(AgentTest, ACatalogOfAnotherBaseIsNotUsed) {
  TestRelease other = release_;
  other.base_fingerprint = std::string(64, 'c');
  other.content = SerializeCatalog(TinyCatalog(other.base_fingerprint, 1));
  GoToSeek();
  options_.base_fingerprint = other.base_fingerprint;
  MakeAgent();
  Start();
  AnswerHello();
  Answer({absl::NotFoundError("no catalog is published"), {}});
  EXPECT_FALSE(personalize_);
  EXPECT_FALSE(stopped_);
  EXPECT_THAT(Reports("waiting"), HasSubstr("no catalog is released yet"));
  Wake();
  AnswerRelease(other);  // the same version number, but not the same personas
  ASSERT_TRUE(personalize_);
  EXPECT_EQ(personalize_->catalog_file, other.File().hash);
}

TEST_F(AgentTest, OnceStopsWhenNothingIsLeftToDo) {
  options_.once = true;
  GoToSeek();
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(stopped_->ok());
  MakeAgent();
  Start();
  AnswerHello();
  AnswerRelease(release_);
  RoundDescription round = StrictRound(catalog_, 1, clock_.Now());
  round.demonstration = true;
  OfferRound(round);  // refused, which is no error
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(stopped_->ok());
}

TEST_F(AgentTest, OnceFailsWithoutACatalog) {
  options_.once = true;
  MakeAgent();
  Start();
  AnswerHello();
  Answer({absl::NotFoundError("no catalog is published"), {}});
  ASSERT_TRUE(stopped_);
  EXPECT_THAT(std::string(stopped_->message()), HasSubstr("no usable catalog"));
}

TEST_F(AgentTest, PersonalizationThatFailsStopsWithItsReason) {
  MakeAgent();
  Start();
  AnswerHello();
  AnswerRelease(release_);
  Step(PersonalizeDone{absl::InvalidArgumentError("expected 64 tokens of text, got 3")});
  ASSERT_TRUE(stopped_);
  EXPECT_EQ(stopped_->message(), "expected 64 tokens of text, got 3");
  EXPECT_FALSE(store_.Load()->personal);
}

TEST_F(AgentTest, ChargesTheLedgerBeforeKeysAreSent) {
  GoToSeek();
  const RoundDescription round = StrictRound(catalog_, 1, clock_.Now());
  OfferRound(round);
  ASSERT_NE(Requested<JoinRequest>(), nullptr);
  const AgentState saved = store_.Load().value();
  EXPECT_EQ(saved.joined, std::vector<SessionId>{Requested<JoinRequest>()->keys.session});
  ASSERT_EQ(saved.ledger.entries.size(), 1u);
  EXPECT_EQ(saved.ledger.entries[0].session, round.secagg.session);
  EXPECT_EQ(saved.ledger.entries[0].status, ChargeStatus::kCharged);
  EXPECT_NEAR(Spent(saved, round.delta), round.epsilon, 1e-9);
  ASSERT_TRUE(contribute_);
  EXPECT_EQ(contribute_->persona, "brief");
}

TEST_F(AgentTest, SendsNothingWhenTheLedgerCannotBeSaved) {
  GoToSeek();
  store_.save_error = absl::ResourceExhaustedError("no space left on device");
  OfferRound(StrictRound(catalog_, 1, clock_.Now()));
  EXPECT_FALSE(call_);
  EXPECT_FALSE(contribute_);
  ASSERT_TRUE(stopped_);
  EXPECT_EQ(stopped_->message(), "agent state: no space left on device");
  EXPECT_THAT(store_.Load()->joined, testing::IsEmpty());
}

TEST_F(AgentTest, ARestartedAgentNeverRejoinsASession) {
  GoToSeek();
  const RoundDescription round = StrictRound(catalog_, 1, clock_.Now());
  OfferRound(round);
  ASSERT_NE(Requested<JoinRequest>(), nullptr);
  MakeAgent();
  Start();
  AnswerHello();
  AnswerRelease(release_);
  OfferRound(round);
  EXPECT_FALSE(call_);
  EXPECT_THAT(Reports("refused"), HasSubstr("joined it before"));
  EXPECT_NEAR(Spent(*store_.Load(), round.delta), round.epsilon, 1e-9) << "charged once";
}

TEST_F(AgentTest, RefusesARoundOfAnotherKeyOrAltered) {
  GoToSeek();
  SignedRoundDescription altered =
      SignRoundDescription(StrictRound(catalog_, 1, clock_.Now()), key_);
  altered.description.back() ^= 1;
  AnswerOk(RoundOffer{{altered}, absl::Seconds(1)});
  EXPECT_FALSE(call_);
  Wake();
  AnswerRelease(release_);
  SeededRandom other_random("other", 1);
  AnswerOk(RoundOffer{{SignRoundDescription(StrictRound(catalog_, 1, clock_.Now()),
                                            SigningKey::Generate(&other_random))},
                      absl::Seconds(1)});
  EXPECT_FALSE(call_);
  EXPECT_THAT(store_.Load()->joined, testing::IsEmpty());
  EXPECT_THAT(store_.Load()->ledger.entries, testing::IsEmpty());
}

TEST_F(AgentTest, HasNothingToAddWhenNoPersonaFits) {
  MakeAgent();
  Start();
  AnswerHello();
  AnswerRelease(release_);
  AnswerPersonalized("");
  OfferRound(StrictRound(catalog_, 1, clock_.Now()));
  EXPECT_FALSE(call_);
  EXPECT_THAT(Reports("refused"), HasSubstr("no persona fits"));
  EXPECT_THAT(store_.Load()->ledger.entries, testing::IsEmpty());
}

TEST_F(AgentTest, PollsThatSayTheRoundIsOverLeaveIt) {
  for (const absl::Status& over :
       {absl::AbortedError("this device dropped out"), absl::NotFoundError("no such session"),
        absl::PermissionDeniedError("device is not in this round")}) {
    store_ = {};
    GoToRound();
    Wake();
    ASSERT_NE(Requested<PollQuery>(), nullptr);
    EXPECT_EQ(Requested<PollQuery>()->ticket, 7u);
    Answer({over, {}});
    EXPECT_FALSE(stopped_);
    EXPECT_THAT(Reports("round_failed"), HasSubstr(std::string(over.message())));
    Wake();
    EXPECT_NE(Requested<ReleaseQuery>(), nullptr) << "looks for other rounds";
  }
}

TEST_F(AgentTest, AnAbortedRoundIsNotCounted) {
  options_.once = true;
  GoToRound();
  Wake();
  PollResult aborted;
  aborted.phase = RoundPhase::kAborted;
  aborted.message = "too few devices";
  AnswerOk(aborted);
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(absl::IsAborted(*stopped_));
  EXPECT_THAT(std::string(stopped_->message()), HasSubstr("too few devices"));
  EXPECT_EQ(store_.Load()->rounds_done, 0);
}

// Found by lorikeet-sim: devices paid for each round that ended before anybody contributed, and
// after a few of those refused all others.
TEST_F(AgentTest, ARoundThatEndsBeforeTheContributionCostsNoEpsilon) {
  GoToRound();
  EXPECT_GT(Spent(*store_.Load(), 1e-6), 0);
  Wake();
  PollResult aborted;
  aborted.phase = RoundPhase::kAborted;
  AnswerOk(aborted);
  EXPECT_EQ(Spent(*store_.Load(), 1e-6), 0);
  ASSERT_EQ(store_.Load()->ledger.entries.size(), 1u) << "the entry stays";
  EXPECT_EQ(store_.Load()->ledger.entries[0].status, ChargeStatus::kRefunded);
  EXPECT_EQ(store_.Load()->joined.size(), 1u) << "it may not be joined again all the same";
}

TEST_F(AgentTest, KeysThatCameTooLateLeaveTheRound) {
  GoToSeek();
  OfferRound(StrictRound(catalog_, 1, clock_.Now()));
  Answer({absl::FailedPreconditionError("expected a message of step share"), {}});
  EXPECT_THAT(Reports("round_failed"), HasSubstr("step share"));
  EXPECT_FALSE(stopped_);
}

TEST_F(AgentTest, AFailedContributionLeavesTheRound) {
  GoToRound();
  Step(ContributionDone{contribute_->round.secagg.session, absl::InvalidArgumentError("no text")});
  EXPECT_THAT(Reports("round_failed"), HasSubstr("no contribution: no text"));
  Wake();
  EXPECT_NE(Requested<ReleaseQuery>(), nullptr);
}

TEST_F(AgentTest, AContributionToAnotherRoundIsNotUsed) {
  GoToRound();
  Step(ContributionDone{Blake2b(AsBytes("old round")), absl::InvalidArgumentError("no text")});
  EXPECT_EQ(Reports("round_failed"), "");
}

TEST_F(AgentTest, ACoordinatorThatSkipsStepsGetsNothingMore) {
  GoToRound();
  Wake();
  PollResult skipped;
  skipped.phase = RoundPhase::kUnmask;
  skipped.acknowledgements.emplace();
  AnswerOk(skipped);
  EXPECT_FALSE(call_);
  EXPECT_THAT(Reports("round_failed"), HasSubstr("left"));
}

TEST_F(AgentTest, ANewerCatalogWaitsForThePersonalizeInterval) {
  options_.personalize_interval = absl::Hours(1);
  GoToSeek();
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  TestRelease next = release_;
  next.version = 2;
  next.content = SerializeCatalog(TinyCatalog(kTestBase, 2));
  Wake();
  AnswerRelease(next);
  EXPECT_FALSE(personalize_);
  AnswerOk(RoundOffer{{}, absl::Seconds(1)});
  clock_.Advance(absl::Hours(1));
  Wake();
  AnswerRelease(next);
  ASSERT_TRUE(personalize_);
  EXPECT_EQ(personalize_->catalog_version, 2u);
}

}  // namespace
}  // namespace lorikeet
