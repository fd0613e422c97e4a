#include "device/trainer/governor.h"

#include <sys/stat.h>

#include <thread>

namespace lorikeet {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr auto kLook = std::chrono::milliseconds(20);

}  // namespace

bool PausingGovernor::MustRest() const {
  struct stat info;
  if (!options_.pause_file.empty() && stat(options_.pause_file.c_str(), &info) == 0) return true;
  return options_.paused != nullptr && options_.paused();
}

absl::Status PausingGovernor::AtPausePoint() {
  const auto stopped = [this] { return options_.stopped != nullptr && options_.stopped(); };
  if (stopped()) return absl::CancelledError("training was asked to stop");
  const SteadyClock::time_point begin = SteadyClock::now();
  if (begin < next_look_) return absl::OkStatus();
  bool rested = false;
  while (MustRest() && !stopped()) {
    rested = true;
    if (options_.resting != nullptr) options_.resting();
    std::this_thread::sleep_for(kLook);
  }
  next_look_ = SteadyClock::now() + kLook;
  if (rested) paused_time_ += absl::FromChrono(SteadyClock::now() - begin);
  return stopped() ? absl::CancelledError("training was asked to stop") : absl::OkStatus();
}

}  // namespace lorikeet
