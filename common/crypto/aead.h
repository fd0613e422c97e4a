// Authenticated encryption: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), with a random nonce in
// front.
//
// Sealed form: nonce [24] | ciphertext [size of plaintext] | tag [16].  24 random bytes make a
// repeated nonce impossible in practice, so one key may seal any number of messages.
#ifndef LORIKEET_COMMON_CRYPTO_AEAD_H_
#define LORIKEET_COMMON_CRYPTO_AEAD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

inline constexpr size_t kAeadKeyBytes = 32;
inline constexpr size_t kAeadOverheadBytes = 24 + 16;

// REQUIRES: key.size_bytes() == kAeadKeyBytes.  `associated` is authenticated, not stored: give it
// again to open.
std::vector<uint8_t> AeadSeal(const SecretBytes& key, std::span<const uint8_t> plaintext,
                              std::span<const uint8_t> associated, RandomSource* random);

// The plaintext.  DATA_LOSS: truncated, altered, another key or other associated data (no way to
// tell which). REQUIRES: key.size_bytes() == kAeadKeyBytes.
absl::StatusOr<SecretBytes> AeadOpen(const SecretBytes& key, std::span<const uint8_t> sealed,
                                     std::span<const uint8_t> associated);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_AEAD_H_
