#include "device/cli/vault_options.h"

#include <cstdlib>
#include <utility>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

absl::StatusOr<VaultSecret> SecretFor(const VaultOptions& options) {
  VaultSecret secret;
  if (!options.passphrase_file.empty()) {
    ASSIGN_OR_RETURN(std::string content, ReadFile(options.passphrase_file, 4096));
    content.resize(std::min(content.find_first_of("\r\n"), content.size()));
    secret.passphrase = SecretBytes::CopyOf(AsBytes(content));
    return secret;
  }
  const char* passphrase = std::getenv("LORIKEET_VAULT_PASSPHRASE");
  if (options.key_file.empty() && passphrase != nullptr) {
    secret.passphrase = SecretBytes::CopyOf(AsBytes(passphrase));
    return secret;
  }
  secret.key_file = options.key_file.empty() ? options.dir + "/vault.key" : options.key_file;
  return secret;
}

}  // namespace

void VaultOptions::Declare(CLI::App* command, bool required) {
  command->add_option("--vault", dir, "Directory of the vault")->required(required);
  auto* key =
      command->add_option("--key-file", key_file, "Key file of the vault (default: DIR/vault.key)");
  command
      ->add_option("--passphrase-file", passphrase_file,
                   "File whose first line is the passphrase (or set LORIKEET_VAULT_PASSPHRASE)")
      ->excludes(key);
}

absl::StatusOr<std::unique_ptr<Vault>> OpenVault(const VaultOptions& options, bool create) {
  static const SystemClock clock;
  static SystemRandom random;
  ASSIGN_OR_RETURN(const VaultSecret secret, SecretFor(options));
  return Vault::Open({.dir = options.dir, .create = create}, secret, &clock, &random);
}

}  // namespace lorikeet
