// How a vault is opened: key-encryption key -> data key.
//
// A random 32-byte data key seals the records.  It is itself sealed by a key-encryption key, from a
// passphrase (Argon2id, parameters stored) or from a key file (common/crypto/secret_file.h, kind
// "vault-key").
#ifndef LORIKEET_DEVICE_VAULT_VAULT_KEYS_H_
#define LORIKEET_DEVICE_VAULT_VAULT_KEYS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

// Exactly one of the two.
struct VaultSecret {
  std::string
      key_file;  // path; made (mode 0600) when a vault is created and the file does not exist
  SecretBytes passphrase;
};

// What the vault stores about its key: "key-file" or the encoded Argon2id parameters.
struct NewVaultKey {
  std::string derivation;
  SecretBytes key;
};

// INVALID_ARGUMENT: neither or both given.
absl::StatusOr<NewVaultKey> MakeVaultKey(const VaultSecret& secret, RandomSource* random);
// The key-encryption key for a vault whose stored derivation is given.  FAILED_PRECONDITION: the
// vault wants the other kind of secret.
absl::StatusOr<SecretBytes> OpenVaultKey(const VaultSecret& secret, std::string_view derivation);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_VAULT_VAULT_KEYS_H_
