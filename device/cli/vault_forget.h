// lorikeet vault forget: text first, then every adapter that knew it, then adapters without it.
#ifndef LORIKEET_DEVICE_CLI_VAULT_FORGET_H_
#define LORIKEET_DEVICE_CLI_VAULT_FORGET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/cli/program.h"
#include "device/cli/vault_options.h"

namespace lorikeet {

struct ForgetArguments {
  VaultOptions vault;
  std::vector<int64_t> ids;
  std::string match;       // every record with one of these words
  std::string source;      // every record of it
  std::string all_before;  // every record added before this day, YYYY-MM-DD (UTC)
  bool all = false;
  bool rebuild = true;
  double max_seconds = 120;  // of training, an adapter
  int threads = 0;

  void Declare(CLI::App* command);
};

// Without any record named: finishes what an earlier run, or a record's expiry, left to do.
absl::Status RunForget(const ForgetArguments& arguments, Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_VAULT_FORGET_H_
