// lorikeet privacy ledger, over the states of agents.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "device/agent/agent_store.h"
#include "device/agent/device_ledger.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class LedgerCli : public testing::Test {
 protected:
  LedgerCli() {
    round_.task = "voices";
    round_.secagg.cohort_min = 30;
    round_.encoding = {
        .dimension = 1000, .clip_norm = 1, .scale = 1024, .sigma_local = 0.4, .modulus_bits = 24};
    round_.delta = 1e-6;
    round_.layout.persona_count = round_.layout.catalog_personas = 3;
  }
  void Charge(int number, ChargeStatus status) {
    round_.round_number = static_cast<uint64_t>(number);
    round_.secagg.session = Blake2b(AsBytes(std::to_string(number)));
    LedgerEntry entry = ChargeFor(round_, 0.05, absl::FromUnixSeconds(1700000000)).value();
    entry.status = status;
    ASSERT_TRUE(state_.ledger.Charge(entry).ok());
  }
  void Save() { ASSERT_TRUE(DirectoryAgentStore::Open(dir_).value()->Save(state_).ok()); }
  CommandOutcome Run(const std::string& more) const {
    return RunCommand(LORIKEET_BIN_DIR "/lorikeet privacy ledger --state " + dir_ + more);
  }

  const std::string dir_ = MakeTempDir("ledger-cli");
  RoundDescription round_;
  AgentState state_;
};

TEST_F(LedgerCli, PrintsEntriesTotalsAndWhatTheyAssume) {
  Charge(1, ChargeStatus::kContributed);
  Charge(2, ChargeStatus::kRefunded);
  Charge(3, ChargeStatus::kCharged);
  round_.central = CentralNoise{.mechanism = Blake2b(AsBytes("m")),
                                .steps = 10,
                                .step = 3,
                                .separation = 2,
                                .participations = 5,
                                .noise_multiplier = 3};
  round_.epsilon = 9;  // more than its noise gives
  Charge(4, ChargeStatus::kContributed);
  Save();
  const CommandOutcome text = Run("");
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(
      text.out,
      AllOf(HasSubstr("refunded"), HasSubstr("2023-11-14T22:13:20"),
            HasSubstr("from at least 28 honest ones (of 30 survivors or more, 2 taken for "
                      "corrupt by this owner)"),
            HasSubstr("the coordinator is trusted to add the mechanism's noise"),
            HasSubstr("states 9, and that is charged"), HasSubstr("of the owner's limit of 50"),
            HasSubstr("no amplification"), HasSubstr("basic composition: epsilon")));
  const CommandOutcome outcome = Run(" --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json ledger = json::parse(outcome.out);
  const LedgerTotal total = TotalOf(state_.ledger, 1e-5).value();
  EXPECT_NEAR(ledger["epsilon_spent"].get<double>(), total.epsilon, 1e-9);
  EXPECT_NEAR(ledger["epsilon_basic"].get<double>(),
              2 * RoundEpsilon(round_.encoding, 28, 1, 1e-6).value() + 9, 1e-9);
  EXPECT_EQ(ledger["rounds_charged"], 3);
  ASSERT_EQ(ledger["entries"].size(), 4u);
  EXPECT_EQ(ledger["entries"][1]["counts"], false);
  EXPECT_EQ(ledger["entries"][3]["mechanism"], ToHex(Blake2b(AsBytes("m"))));
  for (const json& entry : ledger["entries"]) EXPECT_FALSE(entry["assumption"].empty());
}

TEST_F(LedgerCli, SaysHowManyRoundsWereFolded) {
  round_.encoding.sigma_local = 40;
  for (int i = 0; i < static_cast<int>(kLedgerEntries) + 9; ++i) {
    Charge(i, ChargeStatus::kContributed);
  }
  Save();
  EXPECT_THAT(Run("").out, HasSubstr("and 9 older round(s) in one curve"));
}

TEST_F(LedgerCli, AnOwnerWhoNeverTookPartHasSpentNothing) {
  Save();
  EXPECT_THAT(Run("").out, HasSubstr("epsilon 0 at delta 1e-05 spent in 0 round(s)"));
}

TEST_F(LedgerCli, WithoutAStateThereIsNoLedger) {
  const CommandOutcome outcome = Run("/none");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("expected the state of an agent"));
}

}  // namespace
}  // namespace lorikeet
