// Ed25519 signatures (RFC 8032) with a label that separates what is signed.
//
// The signed bytes are: length of label (8 bytes, little-endian) | label | message.  A signature
// made for one purpose (a round, a release, an acknowledgement) can never pass as one for another.
#ifndef LORIKEET_COMMON_CRYPTO_SIGN_H_
#define LORIKEET_COMMON_CRYPTO_SIGN_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/keys.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

// Move-only; wiped when destroyed.
class SigningKey {
 public:
  static SigningKey Generate(RandomSource* random);
  // From a 32-byte seed.  INVALID_ARGUMENT: another size.
  static absl::StatusOr<SigningKey> FromSeed(const SecretBytes& seed);

  const Ed25519PublicKey& public_key() const { return public_key_; }
  Ed25519Signature Sign(std::string_view label, std::span<const uint8_t> message) const;

  // The seed, in a secret file (see secret_file.h) of kind "ed25519-signing-key".
  absl::Status WriteFile(const std::string& path) const;
  static absl::StatusOr<SigningKey> ReadFile(const std::string& path);

 private:
  SigningKey() = default;
  Ed25519PublicKey public_key_ = {};
  SecretBytes secret_;  // libsodium's 64 bytes: seed | public key
};

// Constant time is not needed: everything here is public.
bool VerifySignature(const Ed25519PublicKey& key, std::string_view label,
                     std::span<const uint8_t> message, const Ed25519Signature& signature);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_SIGN_H_
