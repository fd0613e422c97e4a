// HKDF with SHA-256 (RFC 5869).  libsodium 1.0.18 has HMAC-SHA256 but no HKDF.
#ifndef LORIKEET_COMMON_CRYPTO_HKDF_H_
#define LORIKEET_COMMON_CRYPTO_HKDF_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/crypto/secret_bytes.h"

namespace lorikeet {

// Extract then expand.  REQUIRES: size_bytes <= 255 * 32.
SecretBytes HkdfSha256(std::span<const uint8_t> input_key, std::span<const uint8_t> salt,
                       std::span<const uint8_t> info, size_t size_bytes);

// The same from a secret.
SecretBytes HkdfSha256(const SecretBytes& input_key, std::span<const uint8_t> salt,
                       std::span<const uint8_t> info, size_t size_bytes);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_HKDF_H_
