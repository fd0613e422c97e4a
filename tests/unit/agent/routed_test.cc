// Routed rounds at the device: what it checks, when it joins, and what it says by name.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "coordinator/rounds/describe_round.h"
#include "device/agent/sweep_plan.h"
#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kPersonas = 6;

// A strict task with a round for every two of six personas.
std::vector<RoundDescription> StrictSweep(const Catalog& catalog, absl::Time now,
                                          const TokenDemand& demand) {
  TaskConfig task;
  task.name = "routed";
  task.base_fingerprint = catalog.base_fingerprint;
  task.tokens = "required";
  task.routing = "routed";
  task.bucket_personas = 2;
  task.noise_multiplier = 8;
  SeededRandom random("sweep", 1);
  auto sweep = DescribeSweep(task,
                             {.hash = CatalogHash(catalog),
                              .version = 1,
                              .persona_count = static_cast<int>(catalog.personas.size()),
                              .block_size = catalog.block_size()},
                             /*first_number=*/4, now, &random)
                   .value();
  for (RoundDescription& round : sweep) round = AdmitByToken(round, demand).value();
  return sweep;
}

class SweepPlanTest : public testing::Test {
 protected:
  SweepPlanTest() { policy_.federate = policy_.allow_routed = true; }
  absl::Status Check() const { return CheckSweep(sweep_, policy_, state_, catalog_, now_); }
  void ExpectRefused(absl::StatusCode code, const std::string& words) const {
    EXPECT_EQ(Check().code(), code) << Check();
    EXPECT_THAT(std::string(Check().message()), HasSubstr(words));
  }

  absl::Time now_ = absl::FromUnixSeconds(1700000000);
  Catalog catalog_ = TinyCatalog(kTestBase, 1, kPersonas);
  TokenDemand demand_{.epoch = 3};
  std::vector<RoundDescription> sweep_ = StrictSweep(catalog_, now_, demand_);
  RoundPolicy policy_;
  AgentState state_ = SettledState(catalog_, 1);
};

TEST_F(SweepPlanTest, NeedsAConsentOfItsOwnThatNamesTheHistogram) {
  EXPECT_TRUE(Check().ok()) << Check();
  policy_.allow_routed = false;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "reveals the histogram of choices");
  for (RoundDescription& round : sweep_) round.demonstration = true;
  policy_.allow_demonstration = true;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "reveals the histogram of choices");
}

TEST_F(SweepPlanTest, NeedsTokens) {
  sweep_[2].token.reset();
  ExpectRefused(absl::StatusCode::kPermissionDenied, "asks for no anonymous token");
}

// Whatever is wrong with any bucket's round is wrong with all: what this device does by name must
// not depend on its own.
TEST_F(SweepPlanTest, IsRefusedWholeForWhatIsWrongInAnyBucket) {
  sweep_[2].secagg.cohort_min = 29;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "cohort of at least 30, got 29");
  sweep_ = StrictSweep(catalog_, now_, demand_);
  sweep_[1].layout.catalog_personas = 7;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "layout does not fit");
  sweep_ = StrictSweep(catalog_, now_, demand_);
  sweep_[0].layout.first_persona = 5;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "layout does not fit");
}

TEST_F(SweepPlanTest, IsTakenPartInOnce) {
  state_.sweeps = {SweepId(sweep_[1])};
  ExpectRefused(absl::StatusCode::kAlreadyExists, "was in one of those");
  now_ += absl::Milliseconds(1);  // the next one differs in its deadlines
  sweep_ = StrictSweep(catalog_, now_, demand_);
  EXPECT_TRUE(Check().ok()) << Check();
}

TEST_F(SweepPlanTest, LateDevicesStayOut) {
  now_ = sweep_[0].join_from;
  EXPECT_TRUE(Check().ok()) << Check();
  now_ += absl::Milliseconds(1);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "too late to join it unnoticed");
}

TEST_F(SweepPlanTest, RoundsAreOfOneSweepByTaskCatalogDeadlinesAndTokens) {
  for (const RoundDescription& round : sweep_) EXPECT_EQ(SweepId(round), SweepId(sweep_[0]));
  std::vector<RoundDescription> list = sweep_;
  for (int i = 0; i < 4; ++i) list.push_back(sweep_[0]);
  list[3].task = "another";
  list[4].catalog_hash[0] ^= 1;
  list[5].token->epoch += 1;
  list[6].mask_until += absl::Milliseconds(1);
  EXPECT_EQ(RoundsOfSweep(list, sweep_[1]).size(), 3u);
}

TEST_F(SweepPlanTest, APersonaHasOneRound) {
  for (int k = 0; k < kPersonas; ++k) {
    const auto round = RoundOfPersona(sweep_, k);
    ASSERT_TRUE(round);
    EXPECT_EQ(round->round_number, 4u + static_cast<uint64_t>(k / 2));
  }
  EXPECT_FALSE(RoundOfPersona(sweep_, kPersonas));
  EXPECT_FALSE(RoundOfPersona(sweep_, -1)) << "no persona fits";
  sweep_.erase(sweep_.begin());
  EXPECT_FALSE(RoundOfPersona(sweep_, 1)) << "full";
}

// Kolmogorov-Smirnov against the uniform distribution, on 2000 draws: 1.95 is passed once in 1000.
TEST_F(SweepPlanTest, JoinMomentsAreUniformInTheSameIntervalForAll) {
  SeededRandom random("moments", 1);
  const RoundDescription& round = sweep_[0];
  const absl::Duration half = (round.advertise_until - round.join_from) / 2;
  std::vector<double> shares;
  for (int i = 0; i < 2000; ++i) {
    shares.push_back(absl::FDivDuration(JoinMoment(round, &random) - round.join_from, half));
  }
  std::ranges::sort(shares);
  EXPECT_GE(shares.front(), 0);
  EXPECT_LT(shares.back(), 1);
  double furthest = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    furthest = std::max(furthest, std::abs(shares[i] - static_cast<double>(i) / 2000));
  }
  EXPECT_LT(furthest * std::sqrt(2000.0), 1.95);
}

TEST_F(SweepPlanTest, AListOfItsOwnIsRefused) {
  EXPECT_TRUE(CheckSameSweep(sweep_, sweep_, sweep_[1]).ok());
  // Others may be full by now.
  EXPECT_TRUE(CheckSameSweep(sweep_, std::span(sweep_).first(2), sweep_[1]).ok());
  EXPECT_EQ(CheckSameSweep(sweep_, std::span(sweep_).first(1), sweep_[1]).code(),
            absl::StatusCode::kDataLoss);
  // Lists made for other devices, beside its own.
  std::vector<RoundDescription> later = sweep_;
  later.push_back(sweep_[0]);
  later.back().secagg.session[0] ^= 1;
  EXPECT_EQ(CheckSameSweep(sweep_, later, sweep_[1]).code(), absl::StatusCode::kDataLoss);
  later.back().task = "another";
  EXPECT_TRUE(CheckSameSweep(sweep_, later, sweep_[1]).ok()) << "that is another sweep";
}

// The agent with a catalog of six personas, a purse, and a routed task's rounds on offer.
class RoutedAgentTest : public AgentTest {
 protected:
  RoutedAgentTest() {
    catalog_ = TinyCatalog(kTestBase, 1, kPersonas);
    release_.content = SerializeCatalog(catalog_);
    options_.policy.allow_routed = true;
    options_.issuer_key = fleet_.issuer_key().public_key();
    options_.poll_interval = absl::Seconds(10);
    clock_.Set(fleet_.clock().Now());
  }

  // From the start to the look for rounds, with tokens of the fleet's office.
  void GoToList(const std::string& persona) {
    MakeAgent();
    Start();
    AnswerHello();
    AnswerRelease(release_);
    if (personalize_) AnswerPersonalized(persona);
    while (call_ && !Requested<RoundQuery>()) {
      Answer(Execute({.federation = &fleet_.service(), .issuer = &fleet_.office()}, "device-0",
                     call_->request));
    }
    ASSERT_NE(Requested<RoundQuery>(), nullptr);
    EXPECT_EQ(call_->member, "") << "by name";
    ASSERT_FALSE(agent_->state().tokens.empty());
    const PurseToken& token = agent_->state().tokens.front();
    demand_ = {.epoch = token.epoch, .key_id = token.key_id};
    sweep_ = StrictSweep(catalog_, clock_.Now(), demand_);
  }
  RoundOffer Offer() const {
    RoundOffer offer;
    for (const RoundDescription& round : sweep_) {
      offer.rounds.push_back(SignRoundDescription(round, key_));
    }
    return offer;
  }
  // The end of the sweep by its deadlines.
  absl::Time End() const { return sweep_[0].unmask_until; }
  void ExpectQuiet() {
    EXPECT_FALSE(call_);
    ASSERT_TRUE(wake_);
    EXPECT_GE(*wake_, End());
    EXPECT_LE(*wake_, End() + options_.poll_interval);
  }

  TestFleet fleet_{{.tokens = true}};
  TokenDemand demand_;
  std::vector<RoundDescription> sweep_;
};

TEST_F(RoutedAgentTest, JoinsItsBucketUnnamedAfterASecondLook) {
  GoToList("kind-3");
  const size_t tokens = agent_->state().tokens.size();
  AnswerOk(Offer());
  EXPECT_FALSE(call_) << "not at once";
  EXPECT_THAT(store_.Load()->joined, IsEmpty());
  Wake();
  EXPECT_GE(clock_.Now(), sweep_[0].join_from);
  EXPECT_LT(clock_.Now(), sweep_[0].advertise_until);
  ASSERT_NE(Requested<RoundQuery>(), nullptr);
  const DeviceId alias = call_->member;
  EXPECT_TRUE(IsTokenMember(alias)) << alias;
  EXPECT_THAT(store_.Load()->joined, IsEmpty());
  AnswerOk(Offer());
  ASSERT_NE(Requested<JoinRequest>(), nullptr);
  EXPECT_TRUE(IsTokenMember(call_->member));
  EXPECT_NE(call_->member, alias) << "the second look is not the member's";
  EXPECT_EQ(agent_->state().tokens.size(), tokens - 1);
  ASSERT_TRUE(contribute_);
  EXPECT_EQ(contribute_->persona, "kind-3");
  EXPECT_EQ(contribute_->round.layout.first_persona, 2);
  const AgentState saved = store_.Load().value();
  EXPECT_EQ(saved.joined, std::vector<SessionId>{Requested<JoinRequest>()->keys.session});
  EXPECT_EQ(saved.sweeps, std::vector<Hash256>{SweepId(sweep_[0])});
  EXPECT_EQ(saved.ledger.entries.size(), 1u);
}

// However its round ends, and whenever: by name it is heard of when all rounds must be over.
TEST_F(RoutedAgentTest, IsQuietUntilTheSweepIsOver) {
  for (const bool done : {false, true}) {
    GoToList("kind-3");
    AnswerOk(Offer());
    Wake();
    AnswerOk(Offer());
    AnswerOk(Ticket{1});
    Wake();
    ASSERT_NE(Requested<PollQuery>(), nullptr);
    PollResult end;
    end.phase = done ? RoundPhase::kDone : RoundPhase::kAborted;
    AnswerOk(end);
    EXPECT_FALSE(Reports(done ? "round_done" : "round_failed").empty());
    ExpectQuiet();
    Wake();
    ASSERT_NE(Requested<ReleaseQuery>(), nullptr);
    EXPECT_EQ(call_->member, "");
  }
}

TEST_F(RoutedAgentTest, IsAsQuietWhenNoPersonaFitsOrItsRoundIsFull) {
  GoToList("");
  AnswerOk(Offer());
  EXPECT_THAT(Reports("left_out"), HasSubstr("no open round is for a persona that fits"));
  ExpectQuiet();
  // The same, with a persona whose round is not in the list.
  AgentState state = store_.Load().value();
  state.personal->chosen = state.personal->contributes_to = "kind-3";
  ASSERT_TRUE(store_.Save(state).ok());
  GoToList("kind-3");
  RoundOffer offer = Offer();
  offer.rounds.erase(offer.rounds.begin() + 1);
  AnswerOk(offer);
  ExpectQuiet();
  EXPECT_THAT(store_.Load()->joined, IsEmpty());
}

TEST_F(RoutedAgentTest, AListOfItsOwnIsLeftAlone) {
  GoToList("kind-3");
  AnswerOk(Offer());
  Wake();
  const auto own = sweep_;
  sweep_ = StrictSweep(catalog_, clock_.Now(), demand_);  // what everybody else is shown
  AnswerOk(Offer());
  EXPECT_THAT(Reports("refused"), HasSubstr("was shown to this device only"));
  sweep_ = own;
  ExpectQuiet();
  EXPECT_THAT(store_.Load()->joined, IsEmpty());
  EXPECT_THAT(store_.Load()->ledger.entries, IsEmpty());
}

TEST_F(RoutedAgentTest, ARestartedAgentJoinsNoSecondBucketAndIsQuiet) {
  GoToList("kind-3");
  AnswerOk(Offer());
  Wake();
  AnswerOk(Offer());
  ASSERT_NE(Requested<JoinRequest>(), nullptr);
  const auto joined = store_.Load()->joined;
  const auto sweep = sweep_;
  GoToList("brief");
  sweep_ = sweep;
  clock_.Set(sweep_[0].join_from);
  AnswerOk(Offer());
  EXPECT_THAT(Reports("left_out"), HasSubstr("was in one of those"));
  ExpectQuiet();
  EXPECT_EQ(store_.Load()->joined, joined);
}

TEST_F(RoutedAgentTest, WithoutConsentItGoesOnLooking) {
  options_.policy.allow_routed = false;
  GoToList("kind-3");
  AnswerOk(Offer());
  EXPECT_THAT(Reports("refused"), HasSubstr("reveals the histogram of choices"));
  EXPECT_EQ(std::ranges::count(Reports("refused"), '\n'), 1) << "once, not for every bucket";
  ASSERT_TRUE(wake_);
  EXPECT_LE(*wake_, clock_.Now() + options_.poll_interval);
}

}  // namespace
}  // namespace lorikeet
