// A public Ed25519 key in a file: 64 hex digits and a line end, as coordinator.pub has it.  The
// secret half is a secret file (SigningKey::WriteFile).
#ifndef LORIKEET_COMMON_CRYPTO_PUBLIC_KEY_FILE_H_
#define LORIKEET_COMMON_CRYPTO_PUBLIC_KEY_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/keys.h"

namespace lorikeet {

// White space around the digits is allowed.  NOT_FOUND; INVALID_ARGUMENT: anything else in the
// file.
absl::StatusOr<Ed25519PublicKey> ReadPublicKey(const std::string& path);

// Atomic, mode 0644.
absl::Status WritePublicKey(const Ed25519PublicKey& key, const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_PUBLIC_KEY_FILE_H_
