// The redeemer of anonymous tokens: sees tokens, never a device.
//
// Whether a token is genuine is decided here; that it is used once, where tokens are stored (the
// coordinator's store keeps the nonces of every epoch, and inserts one together with what it paid
// for).  A VOPRF is checked with the secret of its epoch, so a redeemer could make tokens itself:
// it is trusted to admit, not to know whom.
#ifndef LORIKEET_COMMON_TOKENS_REDEEMER_H_
#define LORIKEET_COMMON_TOKENS_REDEEMER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret_bytes.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"

namespace lorikeet {

// Not thread-safe.
class TokenRedeemer {
 public:
  // INVALID_ARGUMENT: the seed is not 32 bytes, or a schedule out of range.
  static absl::StatusOr<TokenRedeemer> Create(const TokenSchedule& schedule, SecretBytes seed);

  const TokenSchedule& schedule() const { return schedule_; }
  // What a round's description promises its devices.
  absl::StatusOr<Hash256> KeyIdOf(uint64_t epoch);

  // OK: a genuine token of `epoch` for the session keys with hash `keys_hash`.
  // FAILED_PRECONDITION: of another epoch; PERMISSION_DENIED: under another key, bound to other
  // session keys, or not the issuer's output.
  absl::Status Check(const Token& token, uint64_t epoch, const Hash256& keys_hash);

 private:
  TokenRedeemer(const TokenSchedule& schedule, TokenEpochKeys keys)
      : schedule_(schedule), keys_(std::move(keys)) {}
  TokenSchedule schedule_;
  TokenEpochKeys keys_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENS_REDEEMER_H_
