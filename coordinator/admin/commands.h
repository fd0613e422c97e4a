// The commands of the program `lorikeet-coordinator`.  Framework: common/cli/program.h.
//
// All but init take --config FILE (default: $LORIKEET_COORDINATOR_CONFIG, else coordinator.toml in
// the working directory) and work on the store directly: a running server sees what they changed at
// its next call.
#ifndef LORIKEET_COORDINATOR_ADMIN_COMMANDS_H_
#define LORIKEET_COORDINATOR_ADMIN_COMMANDS_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/cli/program.h"

namespace lorikeet {

void AddInitCommand(Program& program);
void AddServeCommand(Program& program);
void AddPublishCommand(Program& program);
void AddDeltaCommand(Program& program);
void AddVerifyReleaseCommand(Program& program);
void AddTaskCommands(Program& program);
void AddRoundCommands(Program& program);
void AddDeviceCommands(Program& program);
void AddRootCommands(Program& program);
void AddLedgerCommand(Program& program);

// Adds --config to a command; `path` gets the default.
void AddConfigOption(CLI::App* command, std::string* path);
// RFC 3339, UTC.
std::string FormatInstant(absl::Time time);

// One number that stands for "no budget" in a demonstration that gives none.
inline constexpr double kNoBudget = 1e9;
inline constexpr char kRoutedReveals[] =
    "reveals the histogram of choices (cohort sizes by bucket) exactly, nothing per device";

// The store's meta key under which a server leaves the address it listens on.
inline constexpr char kEndpointKey[] = "endpoint";

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_COMMANDS_H_
