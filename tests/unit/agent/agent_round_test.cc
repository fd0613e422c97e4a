// An agent in whole rounds of the production coordinator, beside other devices.
#include "absl/strings/str_cat.h"
#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

// A device that goes through its round as soon as each step lets it.
class Companion {
 public:
  Companion(TestFleet* fleet, int index) : device_(fleet, index) {}
  void Try(uint64_t catalog_version) {
    const absl::Status status = Next(catalog_version);
    if (status.ok()) ++stage_;
  }
  bool finished() const { return stage_ == 5; }

 private:
  absl::Status Next(uint64_t catalog_version) {
    switch (stage_) {
      case 0:
        return device_.Join(catalog_version);
      case 1:
        return device_.Share();
      case 2:
        return device_.Mask(/*persona=*/0, 0.5f);
      case 3:
        return device_.Acknowledge();
      case 4:
        return device_.Unmask();
      default:
        return absl::AbortedError("finished");
    }
  }
  TestDevice device_;
  int stage_ = 0;
};

class AgentRoundTest : public AgentTest {
 protected:
  explicit AgentRoundTest(bool tokens = false)
      : fleet_({.cohort_min = 3, .cohort_max = 3, .tokens = tokens}) {
    options_.root = fleet_.root();
    vouch_ = false;
    options_.base_fingerprint.clear();
    options_.policy.allow_demonstration = true;
    options_.stop_after_rounds = 1;
    options_.poll_interval = absl::Seconds(1);
    options_.step_interval = absl::Milliseconds(200);
    clock_.Set(fleet_.clock().Now());
  }

  // One action of the agent: the service answers calls, work is done at once, waits pass.
  void DoOne() {
    if (call_) {
      Answer(Execute({.federation = &fleet_.service(), .issuer = &fleet_.office()},
                     call_->member.empty() ? "device-5" : call_->member, call_->request));
    } else if (check_base_) {
      AnswerBaseChecked({.healthy = true, .summary = "fine"});
    } else if (personalize_) {
      AnswerPersonalized();
    } else if (contribute_ && contribute_at_ <= clock_.Now()) {
      const ContributeAction work = *std::exchange(contribute_, std::nullopt);
      Step(ContributionDone{work.round.secagg.session,
                            TestContribution(work.round, 0, 0.5f, &random_)});
    } else if (wake_) {
      Wake();
    } else {
      clock_.Advance(absl::Milliseconds(100));
    }
    fleet_.clock().Set(clock_.Now());
    fleet_.service().Tick();
  }

  TestFleet fleet_;
  absl::Time contribute_at_ = absl::InfinitePast();
};

TEST_F(AgentRoundTest, TakesPartFromHelloToTheNextCatalog) {
  std::vector<Companion> others;
  for (int i = 0; i < 2; ++i) others.emplace_back(&fleet_, i);
  MakeAgent();
  Start();
  for (int i = 0; i < 2000 && !stopped_; ++i) {
    DoOne();
    for (Companion& other : others) other.Try(1);
  }
  ASSERT_TRUE(stopped_) << Reports("refused");
  EXPECT_TRUE(stopped_->ok()) << *stopped_;
  EXPECT_THAT(Reports("round_done"), HasSubstr("round 1: summed over 3 devices"));
  EXPECT_THAT(Reports("step"), HasSubstr("ShareKeys\nround 1: SubmitMaskedUpdate\n"
                                         "round 1: Acknowledge"));
  EXPECT_EQ(agent_->state().rounds_done, 1);
  ASSERT_EQ(agent_->state().ledger.entries.size(), 1u);
  EXPECT_EQ(agent_->state().ledger.entries[0].status, ChargeStatus::kContributed);
  EXPECT_EQ(agent_->state().catalog->version, 2u) << "follows what the round made";
  EXPECT_EQ(agent_->state().personal->catalog_version, 2u) << "and personalizes with it";
  const Catalog after = fleet_.LatestCatalog();
  for (const float core : after.personas[0].cores) EXPECT_NEAR(core, 0.5, 0.05);
  for (const float core : after.personas[1].cores) EXPECT_NEAR(core, 0, 0.05);
}

// Killed after the contribution was made and before it was sent: nobody can tell whether it was.
TEST_F(AgentRoundTest, WhatWasHandedOutStaysChargedThroughACrash) {
  std::vector<Companion> others;
  for (int i = 0; i < 2; ++i) others.emplace_back(&fleet_, i);
  MakeAgent();
  Start();
  for (int i = 0; i < 2000 && Requested<MaskedUpdate>() == nullptr; ++i) {
    DoOne();
    for (Companion& other : others) other.Try(1);
  }
  ASSERT_NE(Requested<MaskedUpdate>(), nullptr);
  const AgentState saved = store_.Load().value();
  ASSERT_EQ(saved.ledger.entries.size(), 1u);
  EXPECT_EQ(saved.ledger.entries[0].status, ChargeStatus::kContributed) << "before it is sent";
  const double spent = Spent(saved, 1e-6);
  EXPECT_GT(spent, 0);
  MakeAgent();
  Start();
  for (int i = 0; i < 50; ++i) DoOne();
  EXPECT_EQ(store_.Load()->ledger.entries[0].status, ChargeStatus::kContributed);
  EXPECT_GE(Spent(*store_.Load(), 1e-6), spent);
}

class AgentTokenRoundTest : public AgentRoundTest {
 protected:
  AgentTokenRoundTest() : AgentRoundTest(/*tokens=*/true) {
    options_.issuer_key = fleet_.issuer_key().public_key();
  }
};

TEST_F(AgentTokenRoundTest, TakesPartUnnamed) {
  std::vector<Companion> others;
  for (int i = 0; i < 2; ++i) others.emplace_back(&fleet_, i);
  MakeAgent();
  Start();
  for (int i = 0; i < 2000 && !stopped_; ++i) {
    DoOne();
    for (Companion& other : others) other.Try(1);
  }
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(stopped_->ok()) << *stopped_;
  EXPECT_THAT(Reports("round_done"), HasSubstr("round 1: summed over 3 devices"));
  EXPECT_EQ(agent_->state().tokens.size(), 5u) << "of three in each of two epochs";
  const Catalog after = fleet_.LatestCatalog();
  for (const float core : after.personas[0].cores) EXPECT_NEAR(core, 0.5, 0.05);
}

TEST_F(AgentTokenRoundTest, WithoutAnIssuerRoundsAreLeftOut) {
  options_.issuer_key.reset();
  MakeAgent();
  Start();
  for (int i = 0; i < 100 && !stopped_; ++i) DoOne();
  EXPECT_THAT(Reports("refused"), HasSubstr("it asks for an anonymous token"));
  EXPECT_THAT(agent_->state().ledger.entries, testing::IsEmpty());
}

// The issuer shows this device another key than the round names.
TEST_F(AgentTokenRoundTest, ForgedKeysAreReportedAndRoundsLeftOut) {
  options_.issuer_key = fleet_.key().public_key();
  MakeAgent();
  Start();
  for (int i = 0; i < 100 && !stopped_; ++i) DoOne();
  EXPECT_THAT(Reports("tokens"), HasSubstr("expected the issuer's signature"));
  EXPECT_THAT(Reports("refused"), HasSubstr("none is left"));
}

TEST_F(AgentRoundTest, AContributionThatComesLateIsStillSummed) {
  std::vector<Companion> others;
  for (int i = 0; i < 2; ++i) others.emplace_back(&fleet_, i);
  contribute_at_ = clock_.Now() + absl::Seconds(6);
  MakeAgent();
  Start();
  for (int i = 0; i < 2000 && !stopped_; ++i) {
    DoOne();
    for (Companion& other : others) other.Try(1);
  }
  ASSERT_TRUE(stopped_);
  EXPECT_GE(clock_.Now(), contribute_at_);
  EXPECT_THAT(Reports("round_done"), HasSubstr("3 devices"));
}

TEST_F(AgentRoundTest, AContributionThatNeverComesCostsTheRoundOnly) {
  std::vector<Companion> others;
  for (int i = 0; i < 2; ++i) others.emplace_back(&fleet_, i);
  contribute_at_ = clock_.Now() + absl::Seconds(40);  // the masking step takes 10
  MakeAgent();
  Start();
  for (int i = 0; i < 2000 && Reports("round_failed").empty(); ++i) {
    DoOne();
    for (Companion& other : others) other.Try(1);
  }
  EXPECT_THAT(Reports("round_failed"), HasSubstr("round 1"));
  EXPECT_FALSE(stopped_);
  EXPECT_EQ(agent_->state().rounds_done, 0);
}

TEST_F(AgentRoundTest, GoesOnThroughARestartOfTheCoordinator) {
  std::vector<Companion> others;
  for (int i = 0; i < 2; ++i) others.emplace_back(&fleet_, i);
  MakeAgent();
  Start();
  for (int i = 0; i < 2000 && !stopped_; ++i) {
    DoOne();
    for (Companion& other : others) other.Try(1);
    if (i % 5 == 0) fleet_.Restart();
  }
  ASSERT_TRUE(stopped_);
  EXPECT_TRUE(stopped_->ok()) << *stopped_;
  EXPECT_THAT(Reports("round_done"), HasSubstr("3 devices"));
}

}  // namespace
}  // namespace lorikeet
