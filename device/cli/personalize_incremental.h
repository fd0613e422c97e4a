// lorikeet personalize, again: going on from the last adapter with the text that came since.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZE_INCREMENTAL_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZE_INCREMENTAL_H_

#include "absl/status/statusor.h"
#include "common/cli/program.h"
#include "device/cli/personalize_options.h"

namespace lorikeet {

// True: done, with output and an entry in the history.  False: there is nothing to go on from (no
// vault, no adapter in use that was trained from it on this base), so all begins with a selection.
absl::StatusOr<bool> ContinuePersonal(const PersonalizeArguments& arguments, Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZE_INCREMENTAL_H_
