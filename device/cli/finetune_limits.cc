#include "device/cli/finetune_limits.h"

#include <sys/resource.h>

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/program.h"

namespace lorikeet {

absl::StatusOr<int64_t> ParseSize(std::string_view text) {
  const auto refuse = [text] {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a size such as 136M, 1.5G or 128MiB, got \"", ToAbsl(text), "\""));
  };
  size_t digits = 0;
  while (digits < text.size() && (std::isdigit(text[digits]) != 0 || text[digits] == '.')) {
    ++digits;
  }
  double value = 0;
  if (!absl::SimpleAtod(ToAbsl(text.substr(0, digits)), &value)) return refuse();
  std::string unit(text.substr(digits));
  for (char& c : unit) c = static_cast<char>(std::tolower(c));
  double step = 1000;
  if (unit.size() == 3 && unit.ends_with("ib")) {
    step = 1024;
    unit.resize(1);
  } else if (unit.size() == 2 && unit.ends_with("b")) {
    unit.resize(1);
  }
  constexpr std::string_view kUnits = "kmgt";
  if (unit.size() > 1 || (unit.size() == 1 && kUnits.find(unit[0]) == std::string_view::npos)) {
    return refuse();
  }
  if (unit.size() == 1) value *= std::pow(step, 1 + static_cast<double>(kUnits.find(unit[0])));
  if (!(value >= 0 && value < 9e18)) return refuse();
  return static_cast<int64_t>(value);
}

absl::Status LimitArguments::LowerPriority() const {
  if (nice == 0 || setpriority(PRIO_PROCESS, 0, nice) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("--nice ", nice, ": cannot set the priority: ", std::strerror(errno)));
}

absl::Status LimitArguments::Apply(TrainOptions& options) const {
  if (max_seconds > 0) options.max_duration = absl::Seconds(max_seconds);
  options.max_joules = max_joules;
  if (max_memory.empty()) return absl::OkStatus();
  const absl::StatusOr<int64_t> size = ParseSize(max_memory);
  if (!size.ok()) {
    return UsageError(absl::StrCat("--max-memory: ", ToAbsl(Message(size.status()))));
  }
  options.max_memory_bytes = *size;
  return absl::OkStatus();
}

void LimitArguments::Declare(CLI::App* command) {
  command
      ->add_option("--max-seconds", max_seconds,
                   "Stop after the step that reaches this; pauses do not count; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--max-joules", max_joules,
                   "The same for energy: of the whole processor where it has counters that may be "
                   "read, else processor seconds times --watts; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--watts", energy.watts_per_core, "Of a busy core, where there is no counter")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--max-memory", max_memory,
                      "Working set of the process, the mapped model not counted, such as 136M: "
                      "training trades time for memory to fit, or says the least it needs");
  command->add_option("--pause-file", pause_file, "Training rests while this file exists");
  command->add_option("--nice", nice, "Lower the priority by so much")
      ->check(CLI::Range(0, 19))
      ->capture_default_str();
}

}  // namespace lorikeet
