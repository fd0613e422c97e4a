// What `lorikeet finetune` may take: time, energy, memory, processor priority; and who may hold it
// up.
#ifndef LORIKEET_DEVICE_CLI_FINETUNE_LIMITS_H_
#define LORIKEET_DEVICE_CLI_FINETUNE_LIMITS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/trainer/energy_meter.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

struct LimitArguments {
  double max_seconds = 0;
  double max_joules = 0;
  std::string max_memory;
  std::string pause_file;
  int nice = 0;
  EnergyOptions energy;

  void Declare(CLI::App* command);
  // Lowers this process's priority; before it starts threads, which inherit it.
  absl::Status LowerPriority() const;
  // Usage errors for a size that is none.
  absl::Status Apply(TrainOptions& options) const;
};

// "136M", "1.5GiB", "140000000": decimal K, M, G, T (or KB ...), binary KiB ...  INVALID_ARGUMENT:
// anything else, or nothing.
absl::StatusOr<int64_t> ParseSize(std::string_view text);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_FINETUNE_LIMITS_H_
