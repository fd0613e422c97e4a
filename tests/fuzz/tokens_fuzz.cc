// Fuzz target: anonymous tokens between a device, an issuer and a redeemer that lie to each other.
//
// The input is a script of edits to an honest course of events: to the published keys, the request,
// its evaluation and the tokens.  Whatever happens, a device takes only tokens that the published
// key made, an epoch never shows it a second key, and a redeemer admits only what it would have
// admitted unedited.
#include <map>
#include <set>
#include <string>

#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/tokens/issuer.h"
#include "common/tokens/redeemer.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message_edits.h"

namespace lorikeet {

// The messages as they travel: elements and scalars are bytes that nobody has looked at.
struct RawRequest {
  uint64_t epoch = 0;
  std::vector<Hash256> blinded;
};
struct RawEvaluation {
  std::vector<Hash256> elements;
  Hash256 challenge = {};
  Hash256 response = {};
};
struct RawKeys {
  std::vector<uint8_t> bytes;
  Ed25519Signature signature = {};
};
template <typename Visitor>
void VisitFields(RawRequest& m, Visitor& visit) {
  visit(m.epoch), visit(m.blinded);
}
template <typename Visitor>
void VisitFields(RawEvaluation& m, Visitor& visit) {
  visit(m.elements), visit(m.challenge), visit(m.response);
}
template <typename Visitor>
void VisitFields(RawKeys& m, Visitor& visit) {
  visit(m.bytes), visit(m.signature);
}

namespace {

constexpr size_t kEditBytes = 5;
constexpr size_t kMaxEdits = 32;
constexpr uint64_t kEpoch = 10;
constexpr int kTokens = 2;
const TokenSchedule kSchedule = {
    .start_unix_seconds = 0, .epoch_seconds = 1000, .tokens_per_epoch = 4};

enum Sent : uint8_t { kKeys, kOtherKeys, kRequest, kEvaluation, kToken, kSentKinds };

class Quota final : public TokenQuota {
 public:
  absl::StatusOr<bool> TryCharge(const Charge& charge, uint32_t limit) override {
    if (!requests_.insert(charge.request).second) return true;
    if (sum_ + charge.count > limit) return false;
    sum_ += charge.count;
    return true;
  }

 private:
  std::set<Hash256> requests_;
  uint32_t sum_ = 0;
};

SecretBytes FixedSeed(uint8_t value) {
  const std::vector<uint8_t> seed(32, value);
  return SecretBytes::CopyOf(seed);
}

absl::StatusOr<std::vector<GroupElement>> DecodeElements(const std::vector<Hash256>& raw) {
  std::vector<GroupElement> elements;
  for (const Hash256& bytes : raw) {
    ASSIGN_OR_RETURN(const GroupElement element, GroupElement::Decode(bytes));
    elements.push_back(element);
  }
  return elements;
}

absl::StatusOr<BatchEvaluation> DecodeEvaluation(const RawEvaluation& raw) {
  BatchEvaluation evaluation;
  ASSIGN_OR_RETURN(evaluation.elements, DecodeElements(raw.elements));
  std::vector<uint8_t> proof(raw.challenge.begin(), raw.challenge.end());
  proof.insert(proof.end(), raw.response.begin(), raw.response.end());
  ASSIGN_OR_RETURN(evaluation.proof, DleqProof::Decode(proof));
  return evaluation;
}

class Play {
 public:
  explicit Play(std::span<const uint8_t> script) : script_(script) {}
  void Run();

 private:
  // Applies what the script says of one message.
  template <typename T>
  void Edit(Sent which, T& message) const;
  TokenKeySet ReceiveKeys();
  void ReceiveOtherKeys(const TokenKeySet& keys);
  std::vector<Token> Fetch(const GroupElement& public_key);
  void Redeem(const std::vector<Token>& tokens);

  std::span<const uint8_t> script_;
  SeenValues seen_;
  ManualClock clock_{absl::FromUnixSeconds(static_cast<int64_t>(kEpoch) * 1000 + 1)};
  SeededRandom random_{"tokens fuzz", 1};
  SigningKey signer_ = SigningKey::Generate(&random_);
  Quota quota_;
  std::unique_ptr<TokenIssuer> issuer_ = TokenIssuer::Create({.schedule = kSchedule,
                                                              .epochs_ahead = 1,
                                                              .signer = &signer_,
                                                              .quota = &quota_,
                                                              .clock = &clock_,
                                                              .random = &random_},
                                                             FixedSeed(1))
                                             .value();
  TokenRedeemer redeemer_ = TokenRedeemer::Create(kSchedule, FixedSeed(1)).value();
};

template <typename T>
void Play::Edit(Sent which, T& message) const {
  for (size_t at = 0; at + kEditBytes <= script_.size() && at < kMaxEdits * kEditBytes;
       at += kEditBytes) {
    if (script_[at] % kSentKinds != which) continue;
    EditMessage({script_[at + 1], script_[at + 2], script_[at + 3], script_[at + 4]}, seen_,
                message);
  }
}

// Only the bytes that were signed pass.
TokenKeySet Play::ReceiveKeys() {
  const SignedTokenKeys keys = issuer_->Keys().value();
  RawKeys raw{.bytes = {keys.bytes.begin(), keys.bytes.end()}, .signature = keys.signature};
  Edit(kKeys, raw);
  const SignedTokenKeys received{std::string(raw.bytes.begin(), raw.bytes.end()), raw.signature};
  const auto verified = VerifyTokenKeys(received, signer_.public_key());
  LORIKEET_CHECK(verified.ok() ==
                 (received.bytes == keys.bytes && received.signature == keys.signature));
  return VerifyTokenKeys(keys, signer_.public_key()).value();
}

// An issuer that signs something else later: no epoch has two keys.
void Play::ReceiveOtherKeys(const TokenKeySet& keys) {
  TokenKeyMemory memory;
  LORIKEET_CHECK(CheckAndRemember(keys, &memory).ok());
  const TokenKeyMemory before = memory;
  const std::string bytes = keys.Encode();
  RawKeys raw{.bytes = {bytes.begin(), bytes.end()}, .signature = {}};
  Edit(kOtherKeys, raw);
  const auto other = TokenKeySet::Decode(std::string(raw.bytes.begin(), raw.bytes.end()));
  if (!other.ok()) return;
  if (!CheckAndRemember(*other, &memory).ok()) {
    LORIKEET_CHECK(memory.keys == before.keys && memory.schedule == before.schedule);
    return;
  }
  LORIKEET_CHECK(other->schedule == keys.schedule);
  for (const TokenKeySet::Key& key : other->keys) {
    const auto known = before.keys.find(key.epoch);
    LORIKEET_CHECK(known == before.keys.end() || known->second == TokenKeyId(key.public_key));
  }
}

std::vector<Token> Play::Fetch(const GroupElement& public_key) {
  std::vector<PendingToken> pending;
  RawRequest request{.epoch = kEpoch, .blinded = {}};
  for (uint8_t i = 0; i < kTokens; ++i) {
    pending.push_back(
        PrepareToken(kEpoch, Blake2b(std::span(&i, 1)), FixedSeed(static_cast<uint8_t>(50 + i)))
            .value());
    request.blinded.push_back(pending.back().blinded.element.bytes());
  }
  Remember(request, seen_);
  Edit(kRequest, request);
  const auto blinded = DecodeElements(request.blinded);
  if (!blinded.ok()) return {};
  const auto issued = issuer_->Issue("device", {.epoch = request.epoch, .blinded = *blinded});
  if (!issued.ok()) return {};
  LORIKEET_CHECK(issued->elements.size() == blinded->size() &&
                 blinded->size() <= kSchedule.tokens_per_epoch);
  RawEvaluation raw{
      .elements = {}, .challenge = issued->proof.challenge, .response = issued->proof.response};
  for (const GroupElement& element : issued->elements) raw.elements.push_back(element.bytes());
  Remember(raw, seen_);
  Edit(kEvaluation, raw);
  const auto evaluation = DecodeEvaluation(raw);
  if (!evaluation.ok()) return {};
  return FinishTokens(public_key, pending, *evaluation).value_or(std::vector<Token>());
}

void Play::Redeem(const std::vector<Token>& tokens) {
  for (const Token& token : tokens) {
    LORIKEET_CHECK(redeemer_.Check(token, kEpoch, token.keys_hash).ok());
    Token edited = token;
    Edit(kToken, edited);
    const bool same = edited.nonce == token.nonce && edited.epoch == token.epoch &&
                      edited.key_id == token.key_id && edited.keys_hash == token.keys_hash &&
                      edited.output == token.output;
    // Neither for the keys that it was made for nor for those that it names now.
    LORIKEET_CHECK(redeemer_.Check(edited, kEpoch, token.keys_hash).ok() == same);
    LORIKEET_CHECK(redeemer_.Check(edited, edited.epoch, edited.keys_hash).ok() == same);
  }
}

void Play::Run() {
  const TokenKeySet keys = ReceiveKeys();
  ReceiveOtherKeys(keys);
  const GroupElement public_key = keys.KeyOf(kEpoch).value();
  seen_.push_back(public_key.bytes());
  const std::vector<Token> tokens = Fetch(public_key);
  if (script_.size() < kEditBytes) LORIKEET_CHECK(tokens.size() == kTokens);
  Redeem(tokens);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const auto edit = [](Sent which, uint8_t field, uint8_t op, uint8_t at, uint8_t value) {
    const uint8_t bytes[] = {which, field, op, at, value};
    return std::string(reinterpret_cast<const char*>(bytes), sizeof(bytes));
  };
  return {"",
          edit(kKeys, 0, 1, 20, 1),
          edit(kOtherKeys, 0, 1, 30, 1) + edit(kOtherKeys, 0, 1, 0, 1),
          edit(kRequest, 1, 3, 0, 1) + edit(kToken, 1, 1, 2, 0),
          edit(kEvaluation, 0, 3, 0, 1),
          edit(kEvaluation, 1, 3, 0, 0) + edit(kToken, 4, 0, 3, 1)};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  Play(std::span(data, size)).Run();
  return 0;
}
