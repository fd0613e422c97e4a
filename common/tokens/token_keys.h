// The issuer's keys: one an epoch, few at a time, on a public schedule, in signed metadata.
//
// A key of its own for one device would mark that device's tokens.  So the keys of the present and
// the next epochs are published signed, every device checks that an epoch never shows it a second
// key, and rounds name the key they accept in the description that the whole cohort signs: who was
// shown another key cannot take part, and holds the issuer's signature as proof.
//
// Signed bytes, all integers little-endian:
//   start, Unix seconds [8] | epoch seconds [4] | tokens a device gets per epoch [4] | keys [4] |
//   for each, epochs ascending by one: epoch [8] | public key [32]
#ifndef LORIKEET_COMMON_TOKENS_TOKEN_KEYS_H_
#define LORIKEET_COMMON_TOKENS_TOKEN_KEYS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/hash.h"
#include "common/crypto/secret_bytes.h"
#include "common/crypto/sign.h"
#include "common/tokens/voprf.h"

namespace lorikeet {

inline constexpr std::string_view kTokenKeysLabel = "lorikeet-token-keys-v1";
inline constexpr size_t kMaxTokenKeys = 8;
inline constexpr uint32_t kMaxTokensPerEpoch = 256;

// Fixed for the life of an issuer.  Epoch e lasts from start + e * length to the next.
struct TokenSchedule {
  int64_t start_unix_seconds = 0;
  uint32_t epoch_seconds = 86400;
  // How many members of a round one device can be at most: the Sybil bound.
  uint32_t tokens_per_epoch = 4;

  // INVALID_ARGUMENT: a field out of range (start 0..2^40, epoch 1 s..366 days, 1..256 tokens).
  absl::Status Check() const;
  // FAILED_PRECONDITION: `now` is before the start.
  absl::StatusOr<uint64_t> EpochAt(absl::Time now) const;
  // Infinite future for an epoch past all calendars.
  absl::Time StartOf(uint64_t epoch) const;

  friend bool operator==(const TokenSchedule&, const TokenSchedule&) = default;
};

struct TokenKeySet {
  struct Key {
    uint64_t epoch = 0;
    GroupElement public_key;
  };
  TokenSchedule schedule;
  std::vector<Key> keys;  // 1..kMaxTokenKeys, epochs ascending by one

  std::string Encode() const;
  // INVALID_ARGUMENT: not those bytes, or out of range.
  static absl::StatusOr<TokenKeySet> Decode(std::string_view bytes);
  // NOT_FOUND: no key of that epoch.
  absl::StatusOr<GroupElement> KeyOf(uint64_t epoch) const;
};

struct SignedTokenKeys {
  std::string bytes;
  Ed25519Signature signature = {};
};

SignedTokenKeys SignTokenKeys(const TokenKeySet& keys, const SigningKey& signer);
// DATA_LOSS: not signed by `issuer`; INVALID_ARGUMENT: malformed.
absl::StatusOr<TokenKeySet> VerifyTokenKeys(const SignedTokenKeys& keys,
                                            const Ed25519PublicKey& issuer);

// What a device remembers of one issuer.  Whoever owns it stores it before the keys are used.
struct TokenKeyMemory {
  std::optional<Hash256> schedule;   // hash of it
  std::map<uint64_t, Hash256> keys;  // epoch -> TokenKeyId
};

// An epoch has one key, for ever: what differs from what was shown before is refused, and so is a
// set that goes back to epochs before the oldest remembered, which is why those can be forgotten.
// DATA_LOSS: refused; the memory is unchanged.
absl::Status CheckAndRemember(const TokenKeySet& keys, TokenKeyMemory* memory);

// Secret side: keys follow from one seed and the epoch.  Not thread-safe.
class TokenEpochKeys {
 public:
  // INVALID_ARGUMENT: the seed is not 32 bytes.
  static absl::StatusOr<TokenEpochKeys> Create(SecretBytes seed);
  // Lives until the next call.
  absl::StatusOr<const VoprfKey*> Of(uint64_t epoch);

 private:
  explicit TokenEpochKeys(SecretBytes seed) : seed_(std::move(seed)) {}
  SecretBytes seed_;
  std::map<uint64_t, VoprfKey> cache_;  // at most kMaxTokenKeys
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENS_TOKEN_KEYS_H_
