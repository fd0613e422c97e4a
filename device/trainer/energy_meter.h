// How much energy work takes: the processor's own counter where there is one that may be read, else
// a stated model.
//
// "rapl": the kernel's powercap counters (Documentation/power/powercap in its sources) of all
// processor packages and their memory.  They count the whole machine, not this process alone, and
// most systems let only root read them.  "model": processor seconds of this process, all threads,
// times a stated power per core; it knows neither clock rates nor memory.
#ifndef LORIKEET_DEVICE_TRAINER_ENERGY_METER_H_
#define LORIKEET_DEVICE_TRAINER_ENERGY_METER_H_

#include <memory>
#include <string>
#include <string_view>

namespace lorikeet {

// Not thread-safe.
class EnergyMeter {
 public:
  virtual ~EnergyMeter() = default;
  // Since the meter was made.  Counters of a machine wrap around (at 100 W after some 40 minutes):
  // to be called more often than that.
  virtual double Joules() = 0;
  // "rapl" or "model".
  virtual std::string_view source() const = 0;
};

struct EnergyOptions {
  std::string powercap = "/sys/class/powercap";
  double watts_per_core = 3.5;  // of the model
};

// The counters if any can be read, else the model.
std::unique_ptr<EnergyMeter> MakeEnergyMeter(const EnergyOptions& options = {});

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_ENERGY_METER_H_
