#include "device/trainer/energy_meter.h"

#include <sys/resource.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/base/file.h"

namespace lorikeet {
namespace {

std::string FirstLine(const std::string& path) {
  std::string text = ReadFile(path, 4096).value_or("");
  return text.substr(0, text.find('\n'));
}

std::optional<uint64_t> Number(const std::string& path) {
  uint64_t value = 0;
  if (!absl::SimpleAtoi(FirstLine(path), &value)) return std::nullopt;
  return value;
}

// One counter of microjoules that wraps around behind `range`.
struct Zone {
  std::string path;
  uint64_t range = 0;
  uint64_t last = 0;
};

// "intel-rapl:0" is a package and "intel-rapl:0:1" a part of it.  Parts but memory are in the
// package's own count already, and "psys" holds the packages.
bool Counts(const std::filesystem::path& zone) {
  const std::string name = FirstLine(zone / "name");
  return name.starts_with("package") || name == "dram";
}

class RaplMeter final : public EnergyMeter {
 public:
  explicit RaplMeter(std::vector<Zone> zones) : zones_(std::move(zones)) {}

  double Joules() override {
    for (Zone& zone : zones_) {
      const std::optional<uint64_t> now = Number(zone.path);
      if (!now) continue;
      microjoules_ += *now >= zone.last ? *now - zone.last : *now + zone.range - zone.last;
      zone.last = *now;
    }
    return static_cast<double>(microjoules_) * 1e-6;
  }
  std::string_view source() const override { return "rapl"; }

 private:
  std::vector<Zone> zones_;
  uint64_t microjoules_ = 0;
};

class ModelMeter final : public EnergyMeter {
 public:
  explicit ModelMeter(double watts) : watts_(watts), start_(ProcessorSeconds()) {}
  double Joules() override { return (ProcessorSeconds() - start_) * watts_; }
  std::string_view source() const override { return "model"; }

 private:
  static double ProcessorSeconds() {
    rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }

  double watts_;
  double start_;
};

std::vector<Zone> ReadableZones(const std::string& powercap) {
  std::vector<Zone> zones;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(powercap, error)) {
    if (!entry.path().filename().string().starts_with("intel-rapl:") || !Counts(entry.path())) {
      continue;
    }
    const std::optional<uint64_t> now = Number(entry.path() / "energy_uj");
    const std::optional<uint64_t> range = Number(entry.path() / "max_energy_range_uj");
    if (now && range) zones.push_back({entry.path() / "energy_uj", *range, *now});
  }
  return zones;
}

}  // namespace

std::unique_ptr<EnergyMeter> MakeEnergyMeter(const EnergyOptions& options) {
  std::vector<Zone> zones = ReadableZones(options.powercap);
  if (!zones.empty()) return std::make_unique<RaplMeter>(std::move(zones));
  return std::make_unique<ModelMeter>(options.watts_per_core);
}

}  // namespace lorikeet
