// What each stage of a longer work costs: time, processor time, energy.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_STAGE_METER_H_
#define LORIKEET_DEVICE_PERSONALIZATION_STAGE_METER_H_

#include <string>
#include <string_view>
#include <vector>

#include "device/trainer/energy_meter.h"

namespace lorikeet {

struct StageCost {
  std::string name;
  double seconds = 0;
  double cpu_seconds = 0;  // of this process, all threads
  double joules = 0;       // 0 without a meter
};

// Not thread-safe.
class StageMeter {
 public:
  // `energy` is borrowed; null: energy is not measured.
  explicit StageMeter(EnergyMeter* energy) : energy_(energy) {}

  // Ends the present stage, if any, and begins the next.
  void Begin(std::string_view name);
  void End();

  // Of the stages that have ended, in order.
  const std::vector<StageCost>& costs() const { return costs_; }

 private:
  // Readings since some fixed point.
  StageCost Now() const;

  EnergyMeter* energy_;
  bool running_ = false;
  StageCost begin_;
  std::vector<StageCost> costs_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_STAGE_METER_H_
