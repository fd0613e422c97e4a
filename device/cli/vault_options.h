// Options shared by the commands that open a vault: --vault, --key-file, --passphrase-file.
#ifndef LORIKEET_DEVICE_CLI_VAULT_OPTIONS_H_
#define LORIKEET_DEVICE_CLI_VAULT_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "device/vault/vault.h"

namespace lorikeet {

struct VaultOptions {
  std::string dir;
  std::string key_file;         // default: DIR/vault.key
  std::string passphrase_file;  // its first line; also $LORIKEET_VAULT_PASSPHRASE

  void Declare(CLI::App* command, bool required);
};

// Opens the vault with the secret that the options name.  Errors as Vault::Open.
absl::StatusOr<std::unique_ptr<Vault>> OpenVault(const VaultOptions& options, bool create);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_VAULT_OPTIONS_H_
