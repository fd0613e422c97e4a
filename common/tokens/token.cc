#include "common/tokens/token.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/hkdf.h"

namespace lorikeet {
namespace {

constexpr char kMemberPrefix[] = "member:";

}  // namespace

std::array<uint8_t, kTokenInputBytes> TokenInput(const TokenNonce& nonce, uint64_t epoch,
                                                 const Hash256& keys_hash) {
  std::array<uint8_t, kTokenInputBytes> input;
  auto out = std::copy(nonce.begin(), nonce.end(), input.begin());
  for (int i = 0; i < 8; ++i) *out++ = static_cast<uint8_t>(epoch >> (8 * i));
  std::copy(keys_hash.begin(), keys_hash.end(), out);
  return input;
}

std::string TokenMember(const Token& token) {
  return absl::StrCat(kMemberPrefix, ToHex(Hasher()
                                               .Update("lorikeet round member")
                                               .Update(token.nonce)
                                               .Update(token.output)
                                               .Finish()));
}

std::string NoMember(RandomSource* random) {
  Hash256 name;
  random->Fill(name);
  return absl::StrCat(kMemberPrefix, ToHex(name));
}

bool IsTokenMember(std::string_view name) {
  if (!name.starts_with(kMemberPrefix)) return false;
  const auto digits = name.substr(sizeof kMemberPrefix - 1);
  return digits.size() == 2 * sizeof(Hash256) && HashFromHex(digits).ok();
}

Hash256 TokenKeyId(const GroupElement& public_key) {
  return Hasher().Update("lorikeet token key").Update(public_key.bytes()).Finish();
}

absl::StatusOr<PendingToken> PrepareToken(uint64_t epoch, const Hash256& keys_hash,
                                          const SecretBytes& seed) {
  if (seed.size_bytes() != kTokenSeedBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("seed of a token: expected %d bytes, got %d",
                                                      kTokenSeedBytes, seed.size_bytes()));
  }
  const SecretBytes stream = HkdfSha256(seed, {}, AsBytes("lorikeet token"), kTokenSeedBytes);
  SeededRandom random(stream.Open(SecretAccess("prepare a token")).first<kTokenSeedBytes>());
  TokenNonce nonce;
  random.Fill(nonce);
  ASSIGN_OR_RETURN(BlindedInput blinded, VoprfBlind(TokenInput(nonce, epoch, keys_hash), &random));
  return PendingToken{
      .nonce = nonce, .epoch = epoch, .keys_hash = keys_hash, .blinded = std::move(blinded)};
}

absl::StatusOr<std::vector<Token>> FinishTokens(const GroupElement& public_key,
                                                std::span<const PendingToken> pending,
                                                const BatchEvaluation& evaluation) {
  std::vector<GroupElement> blinded;
  for (const PendingToken& token : pending) blinded.push_back(token.blinded.element);
  RETURN_IF_ERROR(VerifyEvaluation(public_key, blinded, evaluation));
  std::vector<Token> tokens;
  for (size_t i = 0; i < pending.size(); ++i) {
    const PendingToken& from = pending[i];
    Token token{.nonce = from.nonce,
                .epoch = from.epoch,
                .key_id = TokenKeyId(public_key),
                .keys_hash = from.keys_hash};
    ASSIGN_OR_RETURN(token.output, VoprfFinalize(TokenInput(from.nonce, from.epoch, from.keys_hash),
                                                 from.blinded.blind, evaluation.elements[i]));
    tokens.push_back(token);
  }
  return tokens;
}

}  // namespace lorikeet
