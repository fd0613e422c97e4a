// A device's tokens: interrupted, swapped, spent, kept on disk.
#include "device/agent/token_purse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "common/tokens/issuer.h"
#include "common/tokens/redeemer.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

class QuotaInMemory final : public TokenQuota {
 public:
  absl::StatusOr<bool> TryCharge(const Charge& charge, uint32_t limit) override {
    auto& requests = charged_[charge.epoch];
    if (requests.contains(charge.request)) return true;
    uint32_t sum = charge.count;
    for (const auto& [request, count] : requests) sum += count;
    if (sum <= limit) requests[charge.request] = charge.count;
    return sum <= limit;
  }

 private:
  std::map<uint64_t, std::map<Hash256, uint32_t>> charged_;
};

class TokenPurseTest : public testing::Test {
 protected:
  TokenPurseTest() : store_(*DirectoryAgentStore::Open(MakeTempDir("purse"))) { Restart(); }

  std::unique_ptr<TokenIssuer> MakeIssuer(uint8_t seed) {
    const std::vector<uint8_t> bytes(kVoprfSeedBytes, seed);
    return TokenIssuer::Create({.schedule = schedule_,
                                .signer = &signer_,
                                .quota = &quota_,
                                .clock = &clock_,
                                .random = &random_},
                               SecretBytes::CopyOf(bytes))
        .value();
  }
  // What is not saved is gone.
  void Restart() {
    state_ = store_->Load().value();
    purse_.emplace(signer_.public_key(), &state_, store_.get(), &random_);
  }
  void Save() { ASSERT_TRUE(store_->Save(state_).ok()); }
  absl::Status AcceptKeys() { return purse_->AcceptKeys(issuer_->Keys().value()); }
  void Fill() {
    ASSERT_TRUE(AcceptKeys().ok());
    for (;;) {
      const auto request = purse_->NextRequest().value();
      if (!request) break;
      ASSERT_TRUE(purse_->AcceptEvaluation(issuer_->Issue("device", *request).value()).ok());
    }
    Save();
  }
  TokenDemand Demand(uint64_t epoch) const {
    return {.epoch = epoch, .key_id = state_.token_keys.keys.at(epoch)};
  }

  ManualClock clock_{absl::FromUnixSeconds(10'000)};
  SeededRandom random_{"purse test", 1};
  SigningKey signer_ = SigningKey::Generate(&random_);
  QuotaInMemory quota_;
  TokenSchedule schedule_{.start_unix_seconds = 0, .epoch_seconds = 1000, .tokens_per_epoch = 3};
  std::unique_ptr<TokenIssuer> issuer_ = MakeIssuer(7);
  std::unique_ptr<DirectoryAgentStore> store_;
  AgentState state_;
  std::optional<TokenPurse> purse_;
};

TEST_F(TokenPurseTest, FillsForThePresentAndTheNextEpochOnce) {
  Fill();
  ASSERT_EQ(state_.tokens.size(), 6u);
  EXPECT_EQ(purse_->next_keys_at(), absl::FromUnixSeconds(11'000));
  ASSERT_TRUE(AcceptKeys().ok());
  EXPECT_FALSE(purse_->NextRequest().value());
  clock_.Set(absl::FromUnixSeconds(12'000));
  Fill();
  EXPECT_EQ(state_.tokens.size(), 9u) << "epochs 11 (which a late round may ask for), 12, 13";
  EXPECT_EQ(state_.tokens.front().epoch, 11u);
}

TEST_F(TokenPurseTest, ATokenOpensItsRoundAndItsSeedIsGone) {
  Fill();
  Restart();
  const TokenDemand demand = Demand(10);
  ASSERT_TRUE(purse_->CanMeet(demand).ok());
  const PurseToken taken = purse_->Take(demand);
  Save();
  const auto admission = purse_->Open(taken);
  ASSERT_TRUE(admission.ok()) << admission.status();
  const std::vector<uint8_t> seed(kVoprfSeedBytes, 7);
  TokenRedeemer redeemer = TokenRedeemer::Create(schedule_, SecretBytes::CopyOf(seed)).value();
  const Hash256 keys = OneTimeKeysHash(admission->keys.ForSession({}));
  EXPECT_TRUE(redeemer.Check(admission->token, 10, keys).ok());
  EXPECT_EQ(purse_->Open(taken).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(state_.tokens.size(), 5u);
  for (int i = 0; i < 2; ++i) purse_->Take(demand);
  EXPECT_THAT(std::string(Message(purse_->CanMeet(demand))), HasSubstr("none is left"));
}

TEST_F(TokenPurseTest, AnInterruptedBatchIsAskedForAgainAndCountsOnce) {
  ASSERT_TRUE(AcceptKeys().ok());
  Save();
  const IssueRequest request = *purse_->NextRequest().value();
  ASSERT_TRUE(issuer_->Issue("device", request).ok());  // the answer is lost
  Restart();
  ASSERT_TRUE(AcceptKeys().ok());
  const IssueRequest again = *purse_->NextRequest().value();
  EXPECT_EQ(again.blinded, request.blinded);
  Fill();
  EXPECT_TRUE(purse_->CanMeet(Demand(10)).ok());
}

TEST_F(TokenPurseTest, AKeySwappedForThisDeviceIsRefused) {
  Fill();
  issuer_ = MakeIssuer(8);
  Restart();
  const absl::Status refused = AcceptKeys();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Message(refused)), HasSubstr("the key of epoch 10"));
  // A round that names another key than this device was shown.
  TokenDemand demand = Demand(10);
  demand.key_id[0] ^= 1;
  EXPECT_EQ(purse_->CanMeet(demand).code(), absl::StatusCode::kDataLoss);
}

TEST_F(TokenPurseTest, TokensMadeWithAnotherKeyAreNotKept) {
  ASSERT_TRUE(AcceptKeys().ok());
  const IssueRequest request = *purse_->NextRequest().value();
  const auto other = MakeIssuer(8)->Issue("device", request).value();
  EXPECT_EQ(purse_->AcceptEvaluation(other).code(), absl::StatusCode::kDataLoss);
  BatchEvaluation one_bad = issuer_->Issue("device", request).value();
  one_bad.elements[1] = other.elements[1];
  EXPECT_EQ(purse_->AcceptEvaluation(one_bad).code(), absl::StatusCode::kDataLoss);
  for (const PurseToken& token : state_.tokens) EXPECT_FALSE(token.output);
  purse_->DropRequest();
  EXPECT_EQ(state_.tokens.size(), 3u) << "those of the next epoch";
}

TEST_F(TokenPurseTest, StateAndSeedsAreReadBackOrNamedAsBroken) {
  Fill();
  const AgentState saved = store_->Load().value();
  ASSERT_EQ(saved.tokens.size(), 6u);
  EXPECT_EQ(saved.tokens[0].keys_hash, state_.tokens[0].keys_hash);
  EXPECT_EQ(saved.tokens[0].output, state_.tokens[0].output);
  EXPECT_EQ(saved.token_keys.keys, state_.token_keys.keys);
  EXPECT_EQ(saved.token_keys.schedule, state_.token_keys.schedule);
  EXPECT_EQ(saved.next_token_epoch, 12u);
  const Hash256 name = saved.tokens[0].keys_hash;
  std::string path;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           std::filesystem::path(store_->FilePath({})).parent_path().parent_path())) {
    if (entry.path().filename() == ToHex(name)) path = entry.path();
  }
  ASSERT_FALSE(path.empty());
  const std::string bytes = *ReadFile(path);
  ASSERT_TRUE(WriteFileAtomic(path, bytes.substr(0, bytes.size() - 1), 0600).ok());
  EXPECT_EQ(store_->ReadSeed(name).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(store_->KeepOnlySeeds({}).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(store_->ReadSeed(name).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace lorikeet
