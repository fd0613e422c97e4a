// Tokens between a device, an issuer and a redeemer: what is admitted, and every way to cheat.
#include "common/tokens/token.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "common/tokens/issuer.h"
#include "common/tokens/redeemer.h"
#include "common/tokens/token_keys.h"

namespace lorikeet {
namespace {

Hash256 HashOf(std::string_view text) { return Hasher().Update(text).Finish(); }

class QuotaInMemory final : public TokenQuota {
 public:
  absl::StatusOr<bool> TryCharge(const Charge& charge, uint32_t limit) override {
    auto& requests = charged_[{std::string(charge.device), charge.epoch}];
    if (requests.contains(charge.request)) return true;
    uint32_t sum = charge.count;
    for (const auto& [request, count] : requests) sum += count;
    if (sum > limit) return false;
    requests[charge.request] = charge.count;
    return true;
  }

 private:
  std::map<std::pair<std::string, uint64_t>, std::map<Hash256, uint32_t>> charged_;
};

class TokenTest : public testing::Test {
 protected:
  TokenTest() : clock_(absl::FromUnixSeconds(10'000)) {}

  static SecretBytes Seed(uint8_t byte) {
    const std::vector<uint8_t> seed(32, byte);
    return SecretBytes::CopyOf(seed);
  }
  std::unique_ptr<TokenIssuer> MakeIssuer(uint8_t seed, TokenSchedule schedule) {
    return TokenIssuer::Create({.schedule = schedule,
                                .epochs_ahead = 2,
                                .signer = &signer_,
                                .quota = &quota_,
                                .clock = &clock_,
                                .random = &random_},
                               Seed(seed))
        .value();
  }
  TokenKeySet Keys(TokenIssuer* issuer) {
    return VerifyTokenKeys(issuer->Keys().value(), signer_.public_key()).value();
  }
  std::vector<PendingToken> Prepare(int count, uint64_t epoch) {
    std::vector<PendingToken> pending;
    for (int i = 0; i < count; ++i) {
      pending.push_back(PrepareToken(epoch, HashOf("keys" + std::to_string(i)),
                                     SecretBytes::Random(kTokenSeedBytes, &random_))
                            .value());
    }
    return pending;
  }
  static IssueRequest RequestOf(const std::vector<PendingToken>& pending) {
    IssueRequest request{.epoch = pending.front().epoch, .blinded = {}};
    for (const auto& token : pending) request.blinded.push_back(token.blinded.element);
    return request;
  }
  std::vector<Token> Fetch(std::string_view device, int count, uint64_t epoch) {
    const auto pending = Prepare(count, epoch);
    const auto evaluation = issuer_->Issue(device, RequestOf(pending)).value();
    return FinishTokens(Keys(issuer_.get()).KeyOf(epoch).value(), pending, evaluation).value();
  }

  ManualClock clock_;
  SeededRandom random_{"token test", 1};
  SigningKey signer_ = SigningKey::Generate(&random_);
  QuotaInMemory quota_;
  TokenSchedule schedule_{.start_unix_seconds = 0, .epoch_seconds = 1000, .tokens_per_epoch = 4};
  std::unique_ptr<TokenIssuer> issuer_ = MakeIssuer(7, schedule_);
  TokenRedeemer redeemer_ = TokenRedeemer::Create(schedule_, Seed(7)).value();
};

TEST_F(TokenTest, ATokenIsAdmittedForItsEpochAndItsKeys) {
  const auto tokens = Fetch("a", 4, 11);
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_TRUE(redeemer_.Check(tokens[i], 11, HashOf("keys" + std::to_string(i))).ok());
    EXPECT_EQ(tokens[i].key_id, redeemer_.KeyIdOf(11).value());
  }
}

TEST_F(TokenTest, WrongEpochKeyBindingAndOutputAreNamed) {
  const Token token = Fetch("a", 1, 10)[0];
  const Hash256 keys = HashOf("keys0");
  const auto message = [&](const Token& t, uint64_t epoch, const Hash256& hash) {
    return std::string(redeemer_.Check(t, epoch, hash).message());
  };
  EXPECT_EQ(redeemer_.Check(token, 11, keys).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(message(token, 11, keys).find("expected one of epoch 11, got one of epoch 10"),
            std::string::npos);
  EXPECT_NE(message(token, 10, HashOf("keys1")).find("bound to others"), std::string::npos);
  // An epoch that the token claims, a key that it names, and keys that it is bound to are all under
  // the output.
  Token claims = token;
  claims.epoch = 11;
  claims.key_id = redeemer_.KeyIdOf(11).value();
  EXPECT_NE(message(claims, 11, keys).find("expected the issuer's output"), std::string::npos);
  Token rebound = token;
  rebound.keys_hash = HashOf("keys1");
  EXPECT_NE(message(rebound, 10, HashOf("keys1")).find("expected the issuer's output"),
            std::string::npos);
  Token other_key = token;
  other_key.key_id = redeemer_.KeyIdOf(11).value();
  EXPECT_NE(message(other_key, 10, keys).find("another key"), std::string::npos);
}

TEST_F(TokenTest, EveryFlippedBitOfATokenIsRefused) {
  const Token token = Fetch("a", 1, 10)[0];
  const auto refused = [&](const Token& t) {
    return redeemer_.Check(t, 10, token.keys_hash).code() == absl::StatusCode::kPermissionDenied;
  };
  for (size_t bit = 0; bit < 8 * token.output.size(); ++bit) {
    Token flipped = token;
    flipped.output[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_TRUE(refused(flipped)) << bit;
  }
  for (size_t bit = 0; bit < 8 * token.nonce.size(); ++bit) {
    Token flipped = token;
    flipped.nonce[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_TRUE(refused(flipped)) << bit;
  }
}

TEST_F(TokenTest, QuotaIsPerDeviceAndEpochAndRepeatsAreFree) {
  const auto first = RequestOf(Prepare(3, 10)), second = RequestOf(Prepare(2, 10));
  EXPECT_TRUE(issuer_->Issue("a", first).ok());
  const auto again = issuer_->Issue("a", first);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(issuer_->Issue("a", second).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(issuer_->Issue("a", RequestOf(Prepare(1, 10))).ok());
  EXPECT_FALSE(issuer_->Issue("a", RequestOf(Prepare(1, 10))).ok());
  EXPECT_TRUE(issuer_->Issue("b", second).ok());
  EXPECT_TRUE(issuer_->Issue("a", RequestOf(Prepare(4, 11))).ok());
}

TEST_F(TokenTest, IssuesForPublishedEpochsOnly) {
  for (const auto& [epoch, good] :
       std::map<uint64_t, bool>{{9, false}, {10, true}, {12, true}, {13, false}}) {
    EXPECT_EQ(issuer_->Issue("a", RequestOf(Prepare(1, epoch))).ok(), good) << epoch;
  }
  EXPECT_EQ(issuer_->Issue("a", {.epoch = 10, .blinded = {}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(issuer_->Issue("b", RequestOf(Prepare(5, 10))).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(TokenTest, KeysRotateOnTheSchedule) {
  const TokenKeySet before = Keys(issuer_.get());
  ASSERT_EQ(before.keys.size(), 3u);
  EXPECT_EQ(before.keys[0].epoch, 10u);
  EXPECT_EQ(schedule_.StartOf(11), absl::FromUnixSeconds(11'000));
  clock_.Set(absl::FromUnixSeconds(10'999));
  EXPECT_EQ(Keys(issuer_.get()).Encode(), before.Encode());
  clock_.Set(absl::FromUnixSeconds(11'000));
  const TokenKeySet after = Keys(issuer_.get());
  EXPECT_EQ(after.keys[0].epoch, 11u);
  EXPECT_EQ(after.KeyOf(12).value(), before.KeyOf(12).value());
  EXPECT_FALSE(before.KeyOf(11).value() == before.KeyOf(12).value());
  EXPECT_EQ(after.KeyOf(10).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TokenTest, AKeySwappedForOneDeviceIsDetected) {
  TokenKeyMemory memory;
  EXPECT_TRUE(CheckAndRemember(Keys(issuer_.get()), &memory).ok());
  EXPECT_TRUE(CheckAndRemember(Keys(issuer_.get()), &memory).ok());
  clock_.Advance(absl::Seconds(1000));
  EXPECT_TRUE(CheckAndRemember(Keys(issuer_.get()), &memory).ok());
  const auto swapped = MakeIssuer(8, schedule_);  // the same signature, other keys
  const absl::Status status = CheckAndRemember(Keys(swapped.get()), &memory);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("epoch 11"), absl::string_view::npos) << status;
  // An epoch that is over cannot come back with another key.
  clock_.Set(absl::FromUnixSeconds(10'000));
  EXPECT_EQ(CheckAndRemember(Keys(issuer_.get()), &memory).code(), absl::StatusCode::kDataLoss);
  clock_.Set(absl::FromUnixSeconds(11'000));
  EXPECT_TRUE(CheckAndRemember(Keys(issuer_.get()), &memory).ok());
  EXPECT_EQ(memory.keys.size(), 3u);
  TokenSchedule faster = schedule_;
  faster.tokens_per_epoch = 5;
  EXPECT_EQ(CheckAndRemember(Keys(MakeIssuer(7, faster).get()), &memory).code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(TokenTest, TokensOfAnotherKeyThanThePublishedAreRefusedByTheDevice) {
  const auto pending = Prepare(2, 10);
  const auto swapped = MakeIssuer(8, schedule_);
  const auto evaluation = swapped->Issue("a", RequestOf(pending)).value();
  EXPECT_EQ(
      FinishTokens(Keys(issuer_.get()).KeyOf(10).value(), pending, evaluation).status().code(),
      absl::StatusCode::kDataLoss);
}

TEST_F(TokenTest, TheSameSeedGivesTheSameRequest) {
  const auto element = [](uint64_t epoch, std::string_view keys, uint8_t seed) {
    return PrepareToken(epoch, HashOf(keys), Seed(seed)).value().blinded.element;
  };
  EXPECT_EQ(element(3, "keys", 1), element(3, "keys", 1));
  EXPECT_FALSE(element(3, "keys", 1) == element(4, "keys", 1));
  EXPECT_FALSE(element(3, "keys", 1) == element(3, "others", 1));
  EXPECT_FALSE(element(3, "keys", 1) == element(3, "keys", 2));
  EXPECT_FALSE(PrepareToken(3, HashOf("keys"), SecretBytes(31)).ok());
}

TEST_F(TokenTest, MembersAreNamedByTheirTokens) {
  const auto tokens = Fetch("a", 2, 10);
  const std::string name = TokenMember(tokens[0]);
  EXPECT_EQ(name, TokenMember(tokens[0]));
  EXPECT_NE(name, TokenMember(tokens[1]));
  EXPECT_TRUE(IsTokenMember(name));
  EXPECT_FALSE(IsTokenMember(name.substr(1)));
  EXPECT_FALSE(IsTokenMember(name + "0"));
  EXPECT_FALSE(IsTokenMember(name.substr(0, name.size() - 1) + "x"));
  EXPECT_FALSE(IsTokenMember("device-1"));
}

TEST_F(TokenTest, SignedKeysRefuseEveryFlippedBitAndTruncation) {
  const SignedTokenKeys keys = issuer_->Keys().value();
  for (size_t bit = 0; bit < 8 * keys.bytes.size(); ++bit) {
    SignedTokenKeys flipped = keys;
    flipped.bytes[bit / 8] = static_cast<char>(flipped.bytes[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(VerifyTokenKeys(flipped, signer_.public_key()).ok()) << bit;
  }
  EXPECT_FALSE(VerifyTokenKeys(keys, SigningKey::Generate(&random_).public_key()).ok());
  EXPECT_EQ(TokenKeySet::Decode(keys.bytes).value().Encode(), keys.bytes);
  for (size_t size = 0; size < keys.bytes.size(); ++size) {
    EXPECT_FALSE(TokenKeySet::Decode(keys.bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(TokenKeySet::Decode(keys.bytes + "x").ok());
}

TEST_F(TokenTest, KeySetsOutOfRangeAreNamed) {
  const TokenKeySet good = Keys(issuer_.get());
  TokenKeySet gap = good;
  gap.keys[2].epoch += 1;
  EXPECT_FALSE(TokenKeySet::Decode(gap.Encode()).ok());
  TokenKeySet many = good;
  while (many.keys.size() <= kMaxTokenKeys) {
    many.keys.push_back(
        {.epoch = many.keys.back().epoch + 1, .public_key = many.keys[0].public_key});
  }
  EXPECT_FALSE(TokenKeySet::Decode(many.Encode()).ok());
  for (const TokenSchedule& bad :
       {TokenSchedule{.start_unix_seconds = -1}, TokenSchedule{.epoch_seconds = 0},
        TokenSchedule{.epoch_seconds = 400 * 86400}, TokenSchedule{.tokens_per_epoch = 0},
        TokenSchedule{.tokens_per_epoch = 257}}) {
    EXPECT_EQ(bad.Check().code(), absl::StatusCode::kInvalidArgument);
    TokenKeySet set = good;
    set.schedule = bad;
    EXPECT_FALSE(TokenKeySet::Decode(set.Encode()).ok());
  }
  EXPECT_EQ(schedule_.EpochAt(absl::FromUnixSeconds(-1)).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace lorikeet
