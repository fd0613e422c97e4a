#include "device/vault/vault_keys.h"

#include <utility>

#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/aead.h"
#include "common/crypto/password.h"
#include "common/crypto/secret_file.h"

namespace lorikeet {
namespace {

constexpr std::string_view kKeyFileDerivation = "key-file";
constexpr std::string_view kKeyFileKind = "vault-key";

absl::Status CheckOneGiven(const VaultSecret& secret) {
  if (secret.key_file.empty() == secret.passphrase.empty()) {
    return absl::InvalidArgumentError(
        "vault: expected either a key file or a passphrase, got neither or both");
  }
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> FromPassphrase(const VaultSecret& secret,
                                           const PasswordParameters& parameters) {
  return DerivePasswordKey(AsChars(secret.passphrase.Open(SecretAccess("derive the vault key"))),
                           parameters);
}

}  // namespace

absl::StatusOr<NewVaultKey> MakeVaultKey(const VaultSecret& secret, RandomSource* random) {
  RETURN_IF_ERROR(CheckOneGiven(secret));
  NewVaultKey made;
  if (!secret.key_file.empty()) {
    made.derivation = kKeyFileDerivation;
    if (FileExists(secret.key_file)) {
      ASSIGN_OR_RETURN(made.key, ReadSecretFile(secret.key_file, kKeyFileKind, kAeadKeyBytes));
    } else {
      made.key = SecretBytes::Random(kAeadKeyBytes, random);
      RETURN_IF_ERROR(WriteSecretFile(secret.key_file, kKeyFileKind, made.key));
    }
    return made;
  }
  const PasswordParameters parameters = PasswordParameters::Fresh(random);
  made.derivation = parameters.Encode();
  ASSIGN_OR_RETURN(made.key, FromPassphrase(secret, parameters));
  return made;
}

absl::StatusOr<SecretBytes> OpenVaultKey(const VaultSecret& secret, std::string_view derivation) {
  RETURN_IF_ERROR(CheckOneGiven(secret));
  const bool wants_key_file = derivation == kKeyFileDerivation;
  if (wants_key_file != !secret.key_file.empty()) {
    return absl::FailedPreconditionError(wants_key_file
                                             ? "vault: expected a key file, got a passphrase"
                                             : "vault: expected a passphrase, got a key file");
  }
  if (wants_key_file) return ReadSecretFile(secret.key_file, kKeyFileKind, kAeadKeyBytes);
  ASSIGN_OR_RETURN(const PasswordParameters parameters, PasswordParameters::Decode(derivation));
  return FromPassphrase(secret, parameters);
}

}  // namespace lorikeet
