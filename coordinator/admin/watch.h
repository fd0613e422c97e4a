// --watch: a command whose output is drawn again and again.
#ifndef LORIKEET_COORDINATOR_ADMIN_WATCH_H_
#define LORIKEET_COORDINATOR_ADMIN_WATCH_H_

#include "common/cli/program.h"

namespace lorikeet {

// Adds --watch to a command.
void AddWatchOption(CLI::App* command, bool* watch);

// Runs `run` once, or every two seconds until Ctrl-C: in place on a terminal, below each other
// elsewhere.  INVALID_ARGUMENT (usage): with --json, which is one document.  An error ends it.
absl::Status RunWatched(bool watch, Output& out, const RunCommand& run);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_WATCH_H_
