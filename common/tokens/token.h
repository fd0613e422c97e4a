// Anonymous tokens: one admission each, bound to an epoch and to one-time session keys.
//
// An issuer that knows the device evaluates the VOPRF on the token's input without seeing it; a
// redeemer that does not know the device checks the output.  The bytes that are evaluated:
//
//   nonce [32] | epoch [8, little-endian] | hash of the one-time session keys [32]
//
// Whoever steals a token can use it only with the keys that it names, so only together with their
// secrets.
#ifndef LORIKEET_COMMON_TOKENS_TOKEN_H_
#define LORIKEET_COMMON_TOKENS_TOKEN_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/crypto/secret_bytes.h"
#include "common/tokens/voprf.h"

namespace lorikeet {

inline constexpr size_t kTokenNonceBytes = 32;
inline constexpr size_t kTokenSeedBytes = 32;
inline constexpr size_t kTokenInputBytes = kTokenNonceBytes + 8 + sizeof(Hash256);
using TokenNonce = std::array<uint8_t, kTokenNonceBytes>;

struct Token {
  TokenNonce nonce = {};
  uint64_t epoch = 0;
  Hash256 key_id = {};     // of the issuer's key of that epoch: TokenKeyId
  Hash256 keys_hash = {};  // of the one-time session keys
  VoprfOutput output = {};
};

std::array<uint8_t, kTokenInputBytes> TokenInput(const TokenNonce& nonce, uint64_t epoch,
                                                 const Hash256& keys_hash);

// Whom a token admits, "member:" and 64 hex digits: the device's name for the rest of its round.
// Nobody but the token's owner and its redeemer can know it.
std::string TokenMember(const Token& token);
// A name of that form that no token has: for calls that anybody may make unnamed.
std::string NoMember(RandomSource* random);
// Whether it has that form; enrolled devices' names have not.
bool IsTokenMember(std::string_view name);

// Names a public key.
Hash256 TokenKeyId(const GroupElement& public_key);

// A token that the issuer has not evaluated yet.  Stays on the device, but for blinded.element.
struct PendingToken {
  TokenNonce nonce = {};
  uint64_t epoch = 0;
  Hash256 keys_hash = {};
  BlindedInput blinded;
};

// What a device asks an issuer for.
struct IssueRequest {
  uint64_t epoch = 0;
  std::vector<GroupElement> blinded;
};

// Nonce and blind follow from the seed: the same seed gives the same request again, which an issuer
// does not count twice.  INVALID_ARGUMENT: the seed is not 32 bytes.
absl::StatusOr<PendingToken> PrepareToken(uint64_t epoch, const Hash256& keys_hash,
                                          const SecretBytes& seed);

// One token for each pending one, in order.  DATA_LOSS: the issuer did not use `public_key` for all
// of them; INVALID_ARGUMENT: the counts differ.
absl::StatusOr<std::vector<Token>> FinishTokens(const GroupElement& public_key,
                                                std::span<const PendingToken> pending,
                                                const BatchEvaluation& evaluation);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENS_TOKEN_H_
