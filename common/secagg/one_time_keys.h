// The keys that a client has for one session: masks, share boxes, and one signature.
//
// Drawn fresh, or derived from a seed that was drawn before anybody knew of the session, so that an
// anonymous token (common/tokens) could be bound to them.  Never used in a second session.
#ifndef LORIKEET_COMMON_SECAGG_ONE_TIME_KEYS_H_
#define LORIKEET_COMMON_SECAGG_ONE_TIME_KEYS_H_

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/key_exchange.h"
#include "common/crypto/secret_bytes.h"
#include "common/crypto/sign.h"
#include "common/secagg/messages.h"

namespace lorikeet {

inline constexpr size_t kOneTimeSeedBytes = 32;

// Move-only; wiped when destroyed.
struct OneTimeKeys {
  KeyExchangeKey mask_key;
  KeyExchangeKey transport_key;
  SigningKey signing_key;

  static OneTimeKeys Generate(RandomSource* random);
  // The same seed gives the same keys.  INVALID_ARGUMENT: not 32 bytes.
  static absl::StatusOr<OneTimeKeys> FromSeed(const SecretBytes& seed);

  // The public halves.
  KeyAdvertisement ForSession(const SessionId& session) const;
};

// Of the three public keys, whatever the session: what a token is bound to.
Hash256 OneTimeKeysHash(const KeyAdvertisement& keys);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_ONE_TIME_KEYS_H_
