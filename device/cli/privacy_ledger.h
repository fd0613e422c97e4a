// lorikeet privacy ledger: what this device has spent in rounds, by its own account.
#ifndef LORIKEET_DEVICE_CLI_PRIVACY_LEDGER_H_
#define LORIKEET_DEVICE_CLI_PRIVACY_LEDGER_H_

#include "common/cli/program.h"

namespace lorikeet {

// Adds the command to the group `privacy`.
void AddPrivacyLedger(Program& program, CLI::App* group);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PRIVACY_LEDGER_H_
