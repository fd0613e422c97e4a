// What a device demands of rounds whose noise the coordinator adds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "common/dp/accountant.h"
#include "coordinator/rounds/describe_round.h"
#include "device/agent/round_policy.h"
#include "tests/support/shared_data.h"
#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

// Ten rounds, a device in every third at most: rounds 0, 3, 6 and 9.
RoundDescription CentralRound(const Catalog& catalog, absl::Time now) {
  TaskConfig task;
  task.name = "central";
  task.base_fingerprint = catalog.base_fingerprint;
  task.rounds = 10;
  task.noise = "central";
  task.noise_multiplier = 1.5;
  task.separation = 3;
  SeededRandom random("central round", 1);
  return DescribeSweep(task,
                       {.hash = CatalogHash(catalog),
                        .version = 1,
                        .persona_count = static_cast<int>(catalog.personas.size()),
                        .block_size = catalog.block_size()},
                       /*first_number=*/1, now, &random)
      .value()
      .front();
}

class CentralPolicyTest : public testing::Test {
 protected:
  CentralPolicyTest() {
    policy_.federate = policy_.allow_central_noise = true;
    round_.central->mechanism = Blake2b(AsBytes("mechanism"));
    At(0);
  }
  void At(int64_t step) {
    round_.central->step = step;
    round_.round_number = static_cast<uint64_t>(++rounds_);
    round_.secagg.session = Blake2b(AsBytes(std::to_string(rounds_)));
  }
  absl::StatusOr<LedgerEntry> Check() const {
    return CheckRound(round_, policy_, state_, catalog_, now_);
  }
  void Join() {
    const auto charge = Check();
    ASSERT_TRUE(charge.ok()) << charge.status();
    ASSERT_TRUE(state_.ledger.Charge(*charge).ok());
  }
  void End(ChargeStatus status) {
    ASSERT_TRUE(state_.ledger.SetStatus(round_.secagg.session, status).ok());
  }
  void ExpectRefused(absl::StatusCode code, const std::string& words) const {
    const absl::Status status = Check().status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }

  const absl::Time now_ = absl::FromUnixSeconds(1700000000);
  const Catalog catalog_ = TinyCatalog(kTestBase, 1);
  RoundDescription round_ = CentralRound(catalog_, now_);
  RoundPolicy policy_;
  AgentState state_ = SettledState(catalog_, 1);
  int rounds_ = 0;
};

TEST_F(CentralPolicyTest, NeedsAConsentOfItsOwn) {
  EXPECT_TRUE(Check().ok()) << Check().status();
  EXPECT_FALSE(RoundPolicy().allow_central_noise);
  policy_.allow_central_noise = false;
  ExpectRefused(absl::StatusCode::kPermissionDenied,
                "the coordinator would see the sum of all devices before noise");
  round_.demonstration = policy_.allow_demonstration = true;  // lets go of other limits
  ExpectRefused(absl::StatusCode::kPermissionDenied, "before noise");
}

TEST_F(CentralPolicyTest, RefusesAnUnderstatedEpsilon) {
  EXPECT_DOUBLE_EQ(round_.epsilon, GaussianEpsilon(1.5, 1, round_.delta).value());
  round_.epsilon *= 0.99;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "the noise of its mechanism gives");
  round_.demonstration = policy_.allow_demonstration = true;
  ExpectRefused(absl::StatusCode::kInvalidArgument, "the noise of its mechanism gives");
}

TEST_F(CentralPolicyTest, KeepsItsDistanceFromItsLastContribution) {
  At(2);
  Join();
  End(ChargeStatus::kContributed);
  for (const int64_t step : {0, 1, 2, 3, 4}) {  // earlier, again, and too soon
    At(step);
    ExpectRefused(absl::StatusCode::kFailedPrecondition, "expected step 5 or later");
  }
  At(5);
  EXPECT_TRUE(Check().ok()) << Check().status();
}

TEST_F(CentralPolicyTest, ARoundThatWasJoinedAndAbortedCounts) {
  Join();  // and the agent died, or its masked vector was sent and the round aborted
  At(0);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "expected step 3 or later, got 0");
}

TEST_F(CentralPolicyTest, ARoundLeftBeforeAnythingWasSentDoesNot) {
  Join();
  End(ChargeStatus::kRefunded);
  At(0);
  EXPECT_TRUE(Check().ok()) << Check().status();
}

TEST_F(CentralPolicyTest, ContributesNoMoreOftenThanTheMechanismIsFor) {
  round_.central->participations = 2;
  for (const int64_t step : {0, 3}) {
    At(step);
    Join();
    End(ChargeStatus::kContributed);
  }
  At(6);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "for 2 rounds of a device at most");
  round_.central->mechanism[0] ^= 1;  // another one has its own count, and its own price
  EXPECT_TRUE(Check().ok()) << Check().status();
}

TEST_F(CentralPolicyTest, AMechanismDoesNotChange) {
  Join();
  End(ChargeStatus::kContributed);
  At(3);
  EXPECT_TRUE(Check().ok()) << Check().status();
  const RoundDescription good = round_;
  const std::vector<std::function<void(RoundDescription*)>> changes = {
      [](RoundDescription* r) { ++r->central->steps; },
      [](RoundDescription* r) { --r->central->separation; },
      [](RoundDescription* r) { ++r->central->participations; },
      [](RoundDescription* r) { r->central->noise_multiplier *= 2; },
      [](RoundDescription* r) { r->epsilon *= 1.01; }};
  for (size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(i);
    round_ = good;
    changes[i](&round_);
    ExpectRefused(absl::StatusCode::kInvalidArgument, "got another under its name");
  }
}

TEST_F(CentralPolicyTest, AMechanismIsChargedOnce) {
  Join();
  End(ChargeStatus::kContributed);
  const double first = TotalOf(state_.ledger, policy_.max_delta)->epsilon;
  policy_.max_total_epsilon = first;
  At(3);
  Join();
  EXPECT_EQ(TotalOf(state_.ledger, policy_.max_delta)->epsilon, first);
  At(6);
  EXPECT_TRUE(Check().ok()) << Check().status();
  round_.central->mechanism[0] ^= 1;
  ExpectRefused(absl::StatusCode::kPermissionDenied, "over its limit");
}

TEST_F(CentralPolicyTest, TheMemoryOutlivesTheAgent) {
  Join();
  End(ChargeStatus::kContributed);
  const std::string directory = MakeTempDir("central");
  ASSERT_TRUE(DirectoryAgentStore::Open(directory).value()->Save(state_).ok());
  state_ = DirectoryAgentStore::Open(directory).value()->Load().value();
  At(2);
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "was in step 0 of its mechanism");
}

}  // namespace
}  // namespace lorikeet
