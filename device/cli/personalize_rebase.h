// `lorikeet personalize --rebase`: from one base model to another, if that is better.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZE_REBASE_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZE_REBASE_H_

#include "absl/status/status.h"
#include "common/cli/program.h"
#include "device/cli/personalize_options.h"

namespace lorikeet {

// Nothing is written before all is judged: interrupted anywhere, the old side serves.
absl::Status RunRebase(const PersonalizeArguments& arguments, Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZE_REBASE_H_
