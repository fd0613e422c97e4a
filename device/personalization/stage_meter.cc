#include "device/personalization/stage_meter.h"

#include <chrono>
#include <ctime>

namespace lorikeet {

StageCost StageMeter::Now() const {
  StageCost now;
  now.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  timespec cpu = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  now.cpu_seconds = static_cast<double>(cpu.tv_sec) + 1e-9 * static_cast<double>(cpu.tv_nsec);
  if (energy_ != nullptr) now.joules = energy_->Joules();
  return now;
}

void StageMeter::Begin(std::string_view name) {
  End();
  begin_ = Now();
  begin_.name = name;
  running_ = true;
}

void StageMeter::End() {
  if (!running_) return;
  const StageCost end = Now();
  costs_.push_back({begin_.name, end.seconds - begin_.seconds, end.cpu_seconds - begin_.cpu_seconds,
                    end.joules - begin_.joules});
  running_ = false;
}

}  // namespace lorikeet
