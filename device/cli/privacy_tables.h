// lorikeet privacy norm-bound|toeplitz|utility.
#ifndef LORIKEET_DEVICE_CLI_PRIVACY_TABLES_H_
#define LORIKEET_DEVICE_CLI_PRIVACY_TABLES_H_

#include "common/cli/program.h"

namespace lorikeet {

// Adds the commands to the group `privacy`.
void AddPrivacyTables(Program& program, CLI::App* group);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PRIVACY_TABLES_H_
