#include "device/cli/personalize_options.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/strings.h"

namespace lorikeet {

absl::StatusOr<PersonalizeOptions> PersonalizeOptionsOf(const PersonalizeArguments& arguments) {
  PersonalizeOptions options = arguments.options;
  auto modules = ParseModules(arguments.modules);
  if (!modules.ok()) return UsageError(Message(modules.status()));
  options.modules = *std::move(modules);
  if (arguments.max_seconds > 0) options.train.max_duration = absl::Seconds(arguments.max_seconds);
  return options;
}

StageCallback ShowStages(const Output& output) {
  const bool show = output.progress();
  return [show](std::string_view name) {
    if (show) std::fputs(absl::StrCat(ToAbsl(name), " ...\n").c_str(), stderr);
  };
}

}  // namespace lorikeet
