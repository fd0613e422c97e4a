// One secret in one file, readable by its owner only.
//
// Bytes: "lorikeet-secret 1 KIND\n" (KIND as given, no newline) | the secret, raw.  Mode 0600.
#ifndef LORIKEET_COMMON_CRYPTO_SECRET_FILE_H_
#define LORIKEET_COMMON_CRYPTO_SECRET_FILE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

// Atomic and durable.  Errors as WriteFileAtomic.
absl::Status WriteSecretFile(const std::string& path, std::string_view kind,
                             const SecretBytes& secret);

// NOT_FOUND; PERMISSION_DENIED if group or others may read or write the file; DATA_LOSS if it is of
// another kind or does not hold exactly `size_bytes`.
absl::StatusOr<SecretBytes> ReadSecretFile(const std::string& path, std::string_view kind,
                                           size_t size_bytes);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_SECRET_FILE_H_
