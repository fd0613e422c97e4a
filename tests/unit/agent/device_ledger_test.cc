// The device's ledger: what it adds up to, what it forgets to keep one by one, and what it writes.
#include "device/agent/device_ledger.h"

#include <cmath>
#include <limits>

#include "common/dp/accountant.h"
#include "device/agent/device_ledger_json.h"
#include "tests/unit/agent/agent_fixture.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

constexpr double kDelta = 1e-6;

SessionId Session(int i) { return Blake2b(AsBytes("session " + std::to_string(i))); }

class DeviceLedgerTest : public testing::Test {
 protected:
  // Of a round of 30 devices whose sum has `noise` clip norms of noise from 28 of them.
  LedgerEntry Entry(int i, double noise = 1) {
    RoundDescription round = round_;
    round.secagg.session = Session(i);
    round.round_number = static_cast<uint64_t>(i);
    round.encoding.sigma_local *= noise;
    round.epsilon = 0;
    return ChargeFor(round, 0.05, absl::FromUnixSeconds(1700000000 + i)).value();
  }
  LedgerEntry CentralEntry(int i, const std::string& mechanism, double noise = 2) {
    RoundDescription round = round_;
    round.secagg.session = Session(i);
    round.encoding.sigma_local = 0;
    round.central = CentralNoise{.mechanism = Blake2b(AsBytes(mechanism)),
                                 .steps = 10,
                                 .step = i,
                                 .separation = 2,
                                 .participations = 5,
                                 .noise_multiplier = noise};
    round.epsilon = GaussianEpsilon(noise, 1, round.delta).value();
    return ChargeFor(round, 0.05, absl::FromUnixSeconds(1700000000 + i)).value();
  }
  double Total(double delta = kDelta) const { return TotalOf(ledger_, delta).value().epsilon; }
  void Charge(LedgerEntry entry) { ASSERT_TRUE(ledger_.Charge(std::move(entry)).ok()); }

  const Catalog catalog_ = TinyCatalog(kTestBase, 1);
  const RoundDescription round_ = StrictRound(catalog_, 1, absl::FromUnixSeconds(1700000000));
  DeviceLedger ledger_;
};

TEST_F(DeviceLedgerTest, NothingIsSpentAtFirst) {
  EXPECT_EQ(Total(), 0);
  EXPECT_FALSE(TotalOf(ledger_, 0).ok() && TotalOf(ledger_, 0)->epsilon > 0);
}

TEST_F(DeviceLedgerTest, CountsOnItselfAtLeast) {
  EXPECT_EQ(AssumedHonest(30, 0), 30);
  EXPECT_EQ(AssumedHonest(30, 0.05), 28) << "1.5 corrupt devices are 2";
  EXPECT_EQ(AssumedHonest(100, 0.05), 95);
  EXPECT_EQ(AssumedHonest(1, 0.05), 1);
  EXPECT_EQ(AssumedHonest(3, 0.9), 1);
}

TEST_F(DeviceLedgerTest, EqualRoundsComposeAsTheAccountantSays) {
  for (int rounds = 1; rounds <= 20; ++rounds) {
    Charge(Entry(rounds));
    EXPECT_NEAR(Total(), RoundEpsilon(round_.encoding, 28, rounds, kDelta).value(), 1e-9);
  }
  const LedgerTotal total = TotalOf(ledger_, kDelta).value();
  EXPECT_NEAR(total.basic_epsilon, 20 * RoundEpsilon(round_.encoding, 28, 1, kDelta).value(), 1e-9);
  EXPECT_NEAR(total.basic_delta, 20 * round_.delta, 1e-15);
  EXPECT_LT(total.epsilon, total.basic_epsilon);
  EXPECT_FALSE(total.is_basic);
  EXPECT_EQ(total.rounds, 20);
}

TEST_F(DeviceLedgerTest, RoundsOfDifferentNoiseComposeByTheirCurves) {
  PrivacyLedger expected;
  for (int i = 0; i < 6; ++i) {
    const double noise = 0.5 + i;
    Charge(Entry(i, noise));
    EncodingParameters encoding = round_.encoding;
    encoding.sigma_local *= noise;
    ASSERT_TRUE(expected.Spend(DistributedRdp(RoundMechanism(encoding, 28, 1)).value()).ok());
  }
  Charge(CentralEntry(6, "m"));
  ASSERT_TRUE(expected.Spend(GaussianRdp(2, 1, 1).value()).ok());
  EXPECT_NEAR(Total(), expected.SpentEpsilon(kDelta).value(), 1e-9);
}

TEST_F(DeviceLedgerTest, RefundedRoundsStayAndCostNothing) {
  Charge(Entry(1));
  const double one = Total();
  Charge(Entry(2));
  ASSERT_TRUE(ledger_.SetStatus(Session(2), ChargeStatus::kRefunded).ok());
  EXPECT_EQ(Total(), one);
  EXPECT_EQ(ledger_.entries.size(), 2u);
  ASSERT_TRUE(ledger_.SetStatus(Session(1), ChargeStatus::kContributed).ok());
  EXPECT_EQ(Total(), one);
  EXPECT_TRUE(absl::IsNotFound(ledger_.SetStatus(Session(3), ChargeStatus::kRefunded)));
  EXPECT_TRUE(absl::IsAlreadyExists(ledger_.Charge(Entry(1))));
}

TEST_F(DeviceLedgerTest, AMechanismIsChargedOnceHoweverManyRoundsBelongToIt) {
  Charge(CentralEntry(0, "first"));
  const LedgerTotal one = TotalOf(ledger_, kDelta).value();
  EXPECT_TRUE(one.is_basic) << "one exact Gaussian is less than its Renyi curve gives";
  EXPECT_NEAR(one.epsilon, GaussianEpsilon(2, 1, round_.delta).value(), 1e-9);
  EXPECT_GT(one.composed_epsilon, one.epsilon);
  Charge(CentralEntry(2, "first"));
  Charge(CentralEntry(4, "first"));
  EXPECT_EQ(Total(), one.epsilon);
  EXPECT_EQ(TotalOf(ledger_, kDelta)->rounds, 3);
  EXPECT_EQ(TotalOf(ledger_, kDelta)->charges, 1);
  Charge(CentralEntry(5, "second"));
  EXPECT_GT(Total(), one.epsilon);
  EXPECT_EQ(ledger_.EntriesOf(Blake2b(AsBytes("first"))).size(), 3u);
  for (const int i : {0, 2, 4}) {
    EXPECT_GT(Total(), one.epsilon) << "as long as one of its rounds counts";
    ASSERT_TRUE(ledger_.SetStatus(Session(i), ChargeStatus::kRefunded).ok());
  }
  EXPECT_EQ(Total(), one.epsilon) << "the second one alone";
  EXPECT_TRUE(ledger_.EntriesOf(Blake2b(AsBytes("first"))).empty());
}

// A mechanism that was stated in two ways costs what the worse of the two does.
TEST_F(DeviceLedgerTest, OfAMechanismTheLargestChargeCounts) {
  Charge(CentralEntry(0, "m", 2));
  Charge(CentralEntry(1, "m", 1));
  EXPECT_NEAR(Total(), GaussianEpsilon(1, 1, round_.delta).value(), 1e-9);
}

TEST_F(DeviceLedgerTest, BasicCompositionCountsOnlyWhileItsDeltasFit) {
  Charge(CentralEntry(0, "m"));
  EXPECT_TRUE(TotalOf(ledger_, round_.delta)->is_basic);
  EXPECT_FALSE(TotalOf(ledger_, round_.delta / 2)->is_basic);
}

TEST_F(DeviceLedgerTest, CarriedOverEpsilonsAddUpOnTop) {
  ledger_ = CarriedOver(3.5, 7);
  Charge(Entry(1));
  const LedgerTotal total = TotalOf(ledger_, kDelta).value();
  EXPECT_NEAR(total.epsilon, 3.5 + RoundEpsilon(round_.encoding, 28, 1, kDelta).value(), 1e-9);
  EXPECT_NEAR(total.delta, kDelta + 7e-5, 1e-15);
}

TEST_F(DeviceLedgerTest, FoldingLosesNothingOfTheTotal) {
  DeviceLedger small;
  PrivacyLedger expected;
  ledger_ = CarriedOver(1.25, 2);
  int counted = 0;
  for (int i = 0; i < 3 * static_cast<int>(kLedgerEntries); ++i) {
    const double noise = 20 + i % 7;
    Charge(Entry(i, noise));
    if (i % 5 == 0) {
      ASSERT_TRUE(ledger_.SetStatus(Session(i), ChargeStatus::kRefunded).ok());
      continue;
    }
    ++counted;
    EncodingParameters encoding = round_.encoding;
    encoding.sigma_local *= noise;
    ASSERT_TRUE(expected.Spend(DistributedRdp(RoundMechanism(encoding, 28, 1)).value()).ok());
  }
  EXPECT_EQ(ledger_.entries.size(), kLedgerEntries);
  const LedgerTotal total = TotalOf(ledger_, 1e-5).value();
  EXPECT_NEAR(total.epsilon, 1.25 + expected.SpentEpsilon(1e-5).value(), 1e-9);
  EXPECT_EQ(total.rounds, counted + 1);
  EXPECT_NEAR(total.basic_delta, 2e-5 + counted * round_.delta, 1e-12);
  EXPECT_EQ(TotalOf(LedgerFromJson(LedgerToJson(ledger_)).value(), 1e-5)->epsilon, total.epsilon);
}

TEST_F(DeviceLedgerTest, MechanismsAreFoldedLastWholeAndClosed) {
  const int all = static_cast<int>(kLedgerEntries);
  for (int i = 0; i < all; ++i) Charge(CentralEntry(i, "m" + std::to_string(i / 4), 500));
  const double before = Total();
  Charge(Entry(all, 100));
  EXPECT_EQ(ledger_.folded.mechanisms, std::vector<Hash256>{Blake2b(AsBytes("m0"))});
  EXPECT_EQ(ledger_.folded.rounds, 4);
  EXPECT_EQ(ledger_.folded.charges, 1);
  EXPECT_GT(Total(), before);
  EXPECT_TRUE(absl::IsFailedPrecondition(ledger_.Charge(CentralEntry(all + 1, "m0", 500))));
  Charge(CentralEntry(all + 1, "m1", 500));
  EXPECT_EQ(TotalOf(ledger_, kDelta)->charges, all / 4 + 1);
}

TEST_F(DeviceLedgerTest, ALargerStatedEpsilonIsComposedAsLarge) {
  RoundDescription round = round_;
  round.epsilon = 1e4;  // a demonstration, say
  Charge(ChargeFor(round, 0.05, {}).value());
  EXPECT_NEAR(TotalOf(ledger_, round.delta)->composed_epsilon, 1e4, 1e-6);
}

TEST_F(DeviceLedgerTest, NoNoiseIsInfiniteAndCannotBeCharged) {
  RoundDescription round = round_;
  round.encoding.sigma_local = 0;
  const LedgerEntry entry = ChargeFor(round, 0.05, {}).value();
  EXPECT_EQ(entry.own_epsilon, std::numeric_limits<double>::infinity());
  EXPECT_FALSE(ledger_.Charge(entry).ok());
  EXPECT_TRUE(ledger_.entries.empty());
}

TEST_F(DeviceLedgerTest, IsReadAsItWasWritten) {
  ledger_.terms = {.max_total_epsilon = 12, .delta = 1e-7, .assumed_corrupt_fraction = 0.125};
  Charge(Entry(1, 1.0 / 3));
  Charge(CentralEntry(2, "m"));
  LedgerEntry old;
  old.session = Session(3);
  old.stated_epsilon = old.own_epsilon = 2;
  old.routed = old.demonstration = true;
  Charge(old);
  ASSERT_TRUE(ledger_.SetStatus(Session(2), ChargeStatus::kContributed).ok());
  ledger_.folded.composed.spent = {{2, 3}, {0.5, std::numeric_limits<double>::infinity()}};
  ledger_.folded.composed.releases = 1;
  ledger_.folded.mechanisms = {Session(9)};
  const auto text = LedgerToJson(ledger_).dump();
  const DeviceLedger back = LedgerFromJson(nlohmann::json::parse(text)).value();
  EXPECT_EQ(LedgerToJson(back).dump(), text);
  EXPECT_EQ(back.entries.size(), 3u);
  EXPECT_EQ(back.entries[0].at, ledger_.entries[0].at);
  EXPECT_EQ(back.entries[1].central()->step, 2);
  EXPECT_TRUE(std::isinf(back.folded.composed.spent.values[1]));
  EXPECT_EQ(TotalOf(back, kDelta)->epsilon, TotalOf(ledger_, kDelta)->epsilon);
}

TEST_F(DeviceLedgerTest, WhatIsNotALedgerIsNamed) {
  Charge(Entry(1));
  const nlohmann::json good = LedgerToJson(ledger_);
  const auto change = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json bad = good;
    bad[nlohmann::json::json_pointer(pointer)] = value;
    return LedgerFromJson(bad).status();
  };
  EXPECT_THAT(std::string(change("/entries/0/status", "spent").message()),
              testing::HasSubstr("got spent"));
  EXPECT_THAT(std::string(change("/entries/0/noise/of", "x").message()),
              testing::HasSubstr("got x"));
  EXPECT_FALSE(change("/entries/0/session", "ab").ok());
  EXPECT_FALSE(change("/folded/curve/orders", {2, 3}).ok());
}

}  // namespace
}  // namespace lorikeet
