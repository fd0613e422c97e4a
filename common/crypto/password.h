// A key from a passphrase: Argon2id (RFC 9106), with the parameters stored beside what the key
// protects.
#ifndef LORIKEET_COMMON_CRYPTO_PASSWORD_H_
#define LORIKEET_COMMON_CRYPTO_PASSWORD_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

struct PasswordParameters {
  uint32_t passes = 3;                         // 1..64
  uint64_t memory_bytes = uint64_t{64} << 20;  // 8 KiB..1 GiB
  std::array<uint8_t, 16> salt = {};

  // With a fresh salt and the defaults (about 0.1 s on a laptop).
  static PasswordParameters Fresh(RandomSource* random);

  // "argon2id passes=3 memory=67108864 salt=<32 hex digits>".
  std::string Encode() const;
  // INVALID_ARGUMENT: not in that form, or out of the ranges above (a hostile file must not cost
  // gigabytes).
  static absl::StatusOr<PasswordParameters> Decode(std::string_view text);
};

// 32 bytes.  INVALID_ARGUMENT: parameters out of range, or an empty passphrase; RESOURCE_EXHAUSTED:
// not enough memory.
absl::StatusOr<SecretBytes> DerivePasswordKey(std::string_view passphrase,
                                              const PasswordParameters& parameters);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_PASSWORD_H_
