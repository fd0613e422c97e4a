#include "common/crypto/key_exchange.h"

#include <sodium.h>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {

KeyExchangeKey KeyExchangeKey::Generate(RandomSource* random) {
  return std::move(FromSecret(SecretBytes::Random(kX25519SecretBytes, random))).value();
}

absl::StatusOr<KeyExchangeKey> KeyExchangeKey::FromSecret(const SecretBytes& secret) {
  InitSodium();
  static_assert(kX25519SecretBytes == crypto_scalarmult_SCALARBYTES);
  if (secret.size_bytes() != kX25519SecretBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("X25519 secret: expected 32 bytes, got %d", secret.size_bytes()));
  }
  KeyExchangeKey key;
  key.secret_ = secret.Clone();
  crypto_scalarmult_base(key.public_key_.data(),
                         key.secret_.Open(SecretAccess("public key")).data());
  return key;
}

absl::StatusOr<SecretBytes> KeyExchangeKey::Agree(const X25519PublicKey& peer) const {
  const SecretAccess access("key agreement");
  SecretBytes shared(crypto_scalarmult_BYTES);
  // libsodium returns -1 when the result is all zero.
  if (crypto_scalarmult(shared.OpenMutable(access).data(), secret_.Open(access).data(),
                        peer.data()) != 0) {
    return absl::InvalidArgumentError("X25519 public key: expected a point of large order");
  }
  return shared;
}

bool IsUsablePublicKey(const X25519PublicKey& key) {
  InitSodium();
  X25519PublicKey product;
  const std::array<uint8_t, crypto_scalarmult_SCALARBYTES> any_scalar = {};  // is clamped
  return crypto_scalarmult(product.data(), any_scalar.data(), key.data()) == 0;
}

}  // namespace lorikeet
