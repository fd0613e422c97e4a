// `lorikeet personalize --status` and `--rollback`: what was done to a personal adapter, and back.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZE_STATUS_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZE_STATUS_H_

#include "absl/status/status.h"
#include "common/cli/program.h"
#include "device/cli/personalize_options.h"

namespace lorikeet {

// A table, newest first.  Without --out of the one history in the present directory.  NOT_FOUND if
// there is none.
absl::Status ShowPersonalizeStatus(const PersonalizeArguments& arguments, Output& output);

// Errors as History::RollBack; NOT_FOUND: no history.
absl::Status RollBackPersonal(const PersonalizeArguments& arguments, Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZE_STATUS_H_
