// X25519 key agreement (RFC 7748).
#ifndef LORIKEET_COMMON_CRYPTO_KEY_EXCHANGE_H_
#define LORIKEET_COMMON_CRYPTO_KEY_EXCHANGE_H_

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/keys.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

inline constexpr size_t kX25519SecretBytes = 32;

// Move-only; wiped when destroyed.
class KeyExchangeKey {
 public:
  static KeyExchangeKey Generate(RandomSource* random);
  // INVALID_ARGUMENT: not 32 bytes.
  static absl::StatusOr<KeyExchangeKey> FromSecret(const SecretBytes& secret);

  const X25519PublicKey& public_key() const { return public_key_; }
  const SecretBytes& secret() const { return secret_; }

  // The raw shared point: feed it to HKDF, never use it as a key.  INVALID_ARGUMENT: the peer's key
  // is of small order (the shared point would be all zero, whatever our key).
  absl::StatusOr<SecretBytes> Agree(const X25519PublicKey& peer) const;

 private:
  KeyExchangeKey() = default;
  X25519PublicKey public_key_ = {};
  SecretBytes secret_;
};

// False for a point of small order, with which every agreement fails.
bool IsUsablePublicKey(const X25519PublicKey& key);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_KEY_EXCHANGE_H_
