// What `personalize` tells the vault it learns from, so that forgetting can reach the adapter.
#ifndef LORIKEET_DEVICE_CLI_VAULT_LINK_H_
#define LORIKEET_DEVICE_CLI_VAULT_LINK_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/cli/program.h"
#include "device/cli/personalize_options.h"
#include "device/personalization/forgetting.h"

namespace lorikeet {

// Before anything is learned from --vault: takes adapters out of use that know records which were
// forgotten or have expired since, and remembers --out.  Nothing to do without --vault.
absl::Status PrepareVault(const PersonalizeArguments& arguments, Output& output);

// Afterwards: were any of the records of the newest entry of --out's history forgotten in the
// meantime?  As CheckStillKnown.
absl::Status ConfirmVault(const PersonalizeArguments& arguments);

// One line and one JSON object for each adapter that was purged.
nlohmann::json ShowPurged(const std::vector<PurgedAdapter>& purged, Output& output);

// For --status: what is unsettled about the adapter `out`, trained from the vault `dir`; a line
// that says so if that vault cannot be opened.  Empty: all is well.
std::string VaultNotice(const VaultOptions& options, const std::string& dir,
                        const std::string& out);

std::string AbsolutePath(const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_VAULT_LINK_H_
