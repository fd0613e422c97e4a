// Every reason a device has to stay out of a round.
#include "device/agent/round_policy.h"

#include <functional>

#include "common/dp/accountant.h"
#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

class RoundPolicyTest : public testing::Test {
 protected:
  RoundPolicyTest() { policy_.federate = true; }
  absl::Status Check() const {
    return CheckRound(round_, policy_, state_, catalog_, now_).status();
  }
  void ExpectRefused(absl::StatusCode code, const std::string& words) const {
    EXPECT_EQ(Check().code(), code) << Check();
    EXPECT_THAT(std::string(Check().message()), HasSubstr(words));
  }
  // States what the noise gives if this many of the survivors are honest.
  void RestateFor(int honest) {
    round_.epsilon = RoundEpsilon(round_.encoding, honest, 1, round_.delta).value();
  }
  void Restate() { RestateFor(AssumedHonest(round_.secagg.cohort_min, 0.05)); }

  const absl::Time now_ = absl::FromUnixSeconds(1700000000);
  const Catalog catalog_ = TinyCatalog(kTestBase, 1);
  RoundDescription round_ = StrictRound(catalog_, 1, now_);
  RoundPolicy policy_;
  AgentState state_ = SettledState(catalog_, 1);
};

TEST_F(RoundPolicyTest, JoinsAStrictRound) { EXPECT_TRUE(Check().ok()) << Check(); }

TEST_F(RoundPolicyTest, NeedsTheOwnersConsent) {
  policy_.federate = false;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "owner has not allowed");
  round_.demonstration = true;
  policy_.allow_demonstration = true;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "owner has not allowed");
}

TEST_F(RoundPolicyTest, DemonstrationsNeedTheirOwnConsent) {
  round_.demonstration = true;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "demonstration");
  policy_.allow_demonstration = true;
  EXPECT_TRUE(Check().ok());
}

TEST_F(RoundPolicyTest, RefusesASmallCohort) {
  round_.secagg.cohort_min = 29;
  Restate();
  ExpectRefused(absl::StatusCode::kPermissionDenied, "cohort of at least 30, got 29");
  round_.demonstration = true;  // the floor is the only thing that a demonstration lets go of
  policy_.allow_demonstration = true;
  EXPECT_TRUE(Check().ok());
}

TEST_F(RoundPolicyTest, RefusesTooHighAnEpsilon) {
  policy_.max_round_epsilon = round_.epsilon / 2;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "expected epsilon of at most");
}

TEST_F(RoundPolicyTest, RefusesMoreThanTheLifetimeEpsilon) {
  const LedgerEntry charge = CheckRound(round_, policy_, state_, catalog_, now_).value();
  LedgerEntry before = charge;
  policy_.max_total_epsilon = TotalOf({}, policy_.max_delta, &charge)->epsilon;
  EXPECT_TRUE(Check().ok()) << "all of it";
  before.session = Blake2b(AsBytes("before"));
  before.task = "another task";
  ASSERT_TRUE(state_.ledger.Charge(before).ok());
  ExpectRefused(absl::StatusCode::kPermissionDenied, "over its limit of");
  policy_.max_total_epsilon = TotalOf(state_.ledger, policy_.max_delta, &charge)->epsilon;
  EXPECT_TRUE(Check().ok());
  EXPECT_LT(policy_.max_total_epsilon, 2 * charge.epsilon()) << "composed, not added up";
  ASSERT_TRUE(state_.ledger.SetStatus(before.session, ChargeStatus::kRefunded).ok());
  policy_.max_total_epsilon = TotalOf({}, policy_.max_delta, &charge)->epsilon;
  EXPECT_TRUE(Check().ok()) << "what was refunded is free again";
}

TEST_F(RoundPolicyTest, EpsilonsCarriedOverCountAgainstTheLimit) {
  LedgerEntry old;
  old.stated_epsilon = old.own_epsilon = policy_.max_total_epsilon - 0.5 * round_.epsilon;
  ASSERT_TRUE(state_.ledger.Charge(old).ok());
  ExpectRefused(absl::StatusCode::kPermissionDenied, "over its limit of 50");
  state_.ledger.entries[0].stated_epsilon -= round_.epsilon;
  state_.ledger.entries[0].own_epsilon -= round_.epsilon;
  EXPECT_TRUE(Check().ok());
}

// Any noise at all has a small epsilon at a large enough delta.
TEST_F(RoundPolicyTest, RefusesALargeDelta) {
  round_.encoding.sigma_local /= 100;
  round_.delta = 0.9;
  Restate();
  round_.epsilon = std::min(round_.epsilon, policy_.max_round_epsilon);
  ExpectRefused(absl::StatusCode::kPermissionDenied, "delta of at most 1e-05, got 0.9");
}

// The owner's own reckoning decides, not the coordinator's.
TEST_F(RoundPolicyTest, RefusesAnEpsilonThatCountsOnMoreHonestDevicesThanTheOwnerDoes) {
  EXPECT_TRUE(Check().ok()) << "stated for the same share of corrupt devices";
  RestateFor(round_.secagg.cohort_min);
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "of the 30 survivors at least, this device counts on 28 to be honest");
  policy_.assumed_corrupt_fraction = 0;
  EXPECT_TRUE(Check().ok());
  policy_.assumed_corrupt_fraction = 0.2;
  RestateFor(28);
  ExpectRefused(absl::StatusCode::kInvalidArgument, "counts on 24");
}

TEST_F(RoundPolicyTest, ChargesTheLargerOfStatedAndReckoned) {
  RestateFor(20);  // a coordinator that plans for more corrupt devices
  const LedgerEntry charge = CheckRound(round_, policy_, state_, catalog_, now_).value();
  EXPECT_EQ(charge.epsilon(), round_.epsilon);
  EXPECT_LT(charge.own_epsilon, round_.epsilon);
  EXPECT_NEAR(TotalOf({}, round_.delta, &charge)->composed_epsilon, round_.epsilon, 1e-9);
}

// Whoever lets go of the limits lets go of corrupt devices too, but not of arithmetic.
TEST_F(RoundPolicyTest, DemonstrationsMayCountOnEverybody) {
  round_.demonstration = policy_.allow_demonstration = true;
  RestateFor(round_.secagg.cohort_min);
  const auto charge = CheckRound(round_, policy_, state_, catalog_, now_);
  ASSERT_TRUE(charge.ok()) << charge.status();
  EXPECT_GT(charge->epsilon(), round_.epsilon) << "charged as the owner reckons";
  round_.epsilon *= 0.99;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives");
}

TEST_F(RoundPolicyTest, RefusesAnUnderstatedEpsilon) {
  Restate();
  round_.epsilon *= 0.99;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives");
  Restate();
  round_.encoding.sigma_local = 0;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives inf");
}

// Sums of discrete Gaussians are only nearly discrete Gaussian: the smaller a device's share, the
// more that costs, and what Skellam noise of the same size would give is not enough.
TEST_F(RoundPolicyTest, ADiscreteGaussianRoundStatesWhatItsOwnNoiseGives) {
  EncodingParameters& encoding = round_.encoding;
  encoding.noise = NoiseKind::kDiscreteGaussian;
  Restate();
  EXPECT_TRUE(Check().ok()) << Check();
  round_.epsilon *= 0.99;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives");
  Restate();
  encoding.sigma_local *= 0.9;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives");

  encoding.scale = 64 / encoding.clip_norm;
  encoding.sigma_local = 0.3 / encoding.scale;
  encoding.noise = NoiseKind::kSkellam;
  round_.demonstration = policy_.allow_demonstration = true;  // so little noise fits no limits
  RestateFor(round_.secagg.cohort_min);
  EXPECT_TRUE(Check().ok()) << Check();
  encoding.noise = NoiseKind::kDiscreteGaussian;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives");
}

TEST_F(RoundPolicyTest, RefusesAnotherBaseOrCatalog) {
  round_.base_fingerprint = std::string(64, 'c');
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "expected base bbb");
  round_ = StrictRound(catalog_, 2, now_);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "expected catalog version 1");
  round_ = StrictRound(catalog_, 1, now_);
  round_.catalog_hash[0] = round_.catalog_hash[0] == 'a' ? 'b' : 'a';
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "expected catalog version 1");
  round_ = StrictRound(catalog_, 1, now_);
  state_.catalog.reset();
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "no catalog");
}

TEST_F(RoundPolicyTest, RefusesALayoutThatDoesNotFit) {
  const std::vector<std::function<void(RoundDescription*)>> changes = {
      [](RoundDescription* r) { ++r->layout.persona_count; },
      [](RoundDescription* r) { ++r->layout.block_size; },
      [](RoundDescription* r) { ++r->encoding.dimension; },
      [](RoundDescription* r) { r->secagg.dimension *= 2; },
      [](RoundDescription* r) { ++r->secagg.modulus_bits; }};
  for (size_t i = 0; i < changes.size(); ++i) {
    round_ = StrictRound(catalog_, 1, now_);
    changes[i](&round_);
    SCOPED_TRACE(i);
    ExpectRefused(absl::StatusCode::kInvalidArgument, "layout");
  }
}

TEST_F(RoundPolicyTest, RefusesASessionJoinedBefore) {
  round_.secagg.session = Blake2b(AsBytes("session"));
  state_.joined = {round_.secagg.session};
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "joined it before");
}

TEST_F(RoundPolicyTest, RefusesARoundWhoseFirstStepIsOver) {
  round_.advertise_until = now_;
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "first step is over");
}

}  // namespace
}  // namespace lorikeet
