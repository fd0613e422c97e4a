#include "common/crypto/password.h"

#include <sodium.h>

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr size_t kKeyBytes = 32;
static_assert(crypto_pwhash_argon2id_SALTBYTES == 16);

absl::Status Validate(const PasswordParameters& p) {
  if (p.passes < 1 || p.passes > 64 || p.memory_bytes < 8192 ||
      p.memory_bytes > (uint64_t{1} << 30)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "passphrase parameters: expected 1..64 passes over 8 KiB..1 GiB, got %d over %d bytes",
        p.passes, p.memory_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

PasswordParameters PasswordParameters::Fresh(RandomSource* random) {
  PasswordParameters parameters;
  random->Fill(parameters.salt);
  return parameters;
}

std::string PasswordParameters::Encode() const {
  return absl::StrFormat("argon2id passes=%d memory=%d salt=%s", passes, memory_bytes, ToHex(salt));
}

absl::StatusOr<PasswordParameters> PasswordParameters::Decode(std::string_view text) {
  const absl::Status malformed = absl::InvalidArgumentError(
      "passphrase parameters: expected \"argon2id passes=N memory=N salt=HEX\"");
  const std::vector<absl::string_view> words = absl::StrSplit(ToAbsl(text), ' ');
  if (words.size() != 4 || words[0] != "argon2id") return malformed;
  absl::string_view passes = words[1], memory = words[2], salt = words[3];
  PasswordParameters parameters;
  if (!absl::ConsumePrefix(&passes, "passes=") || !absl::SimpleAtoi(passes, &parameters.passes) ||
      !absl::ConsumePrefix(&memory, "memory=") ||
      !absl::SimpleAtoi(memory, &parameters.memory_bytes) || !absl::ConsumePrefix(&salt, "salt=")) {
    return malformed;
  }
  const absl::StatusOr<std::string> bytes = FromHex(ToStd(salt));
  if (!bytes.ok() || bytes->size() != parameters.salt.size()) return malformed;
  std::copy(bytes->begin(), bytes->end(), parameters.salt.begin());
  RETURN_IF_ERROR(Validate(parameters));
  return parameters;
}

absl::StatusOr<SecretBytes> DerivePasswordKey(std::string_view passphrase,
                                              const PasswordParameters& parameters) {
  InitSodium();
  RETURN_IF_ERROR(Validate(parameters));
  if (passphrase.empty()) {
    return absl::InvalidArgumentError("passphrase: expected at least one character, got none");
  }
  SecretBytes key(kKeyBytes);
  if (crypto_pwhash(key.OpenMutable(SecretAccess("derive from a passphrase")).data(), kKeyBytes,
                    passphrase.data(), passphrase.size(), parameters.salt.data(), parameters.passes,
                    parameters.memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "passphrase key: expected %d bytes of free memory for Argon2id", parameters.memory_bytes));
  }
  return key;
}

}  // namespace lorikeet
