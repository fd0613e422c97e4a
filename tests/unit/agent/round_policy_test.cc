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
  absl::Status Check() const { return CheckRound(round_, policy_, state_, catalog_, now_); }
  void ExpectRefused(absl::StatusCode code, const std::string& words) const {
    EXPECT_EQ(Check().code(), code) << Check();
    EXPECT_THAT(std::string(Check().message()), HasSubstr(words));
  }
  void Restate() {
    round_.epsilon =
        RoundEpsilon(round_.encoding, round_.secagg.cohort_min, 1, round_.delta).value();
  }

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
  state_.epsilon_spent = policy_.max_total_epsilon - round_.epsilon * 0.5;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "over its limit of 50");
  state_.epsilon_spent = policy_.max_total_epsilon - round_.epsilon * 1.5;
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

// A coordinator that plans for corrupt devices (the default) states more than honest ones give.
TEST_F(RoundPolicyTest, AcceptsAnEpsilonStatedForFewerHonestDevices) {
  const double stated = round_.epsilon;
  Restate();
  EXPECT_LT(round_.epsilon, stated);
  EXPECT_TRUE(Check().ok());
  round_.epsilon = stated;
  EXPECT_TRUE(Check().ok());
}

TEST_F(RoundPolicyTest, RefusesAnUnderstatedEpsilon) {
  Restate();
  round_.epsilon *= 0.99;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives");
  Restate();
  round_.encoding.sigma_local = 0;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "but its noise gives inf");
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
