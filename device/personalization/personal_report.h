// The page of `lorikeet personalize --report`: what was chosen and why, what was learned, what it
// cost and how to undo it, for the owner.
//
// One HTML document that needs nothing else (common/report).  It holds the owner's words (the
// samples): write it with WritePersonalReport, so that nobody else can read it.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_PERSONAL_REPORT_H_
#define LORIKEET_DEVICE_PERSONALIZATION_PERSONAL_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/adapter/catalog.h"
#include "device/personalization/personalizer.h"
#include "device/personalization/stage_meter.h"
#include "device/personalization/writing_samples.h"

namespace lorikeet {

struct PersonalReport {
  // Borrowed; required.
  const Catalog* catalog = nullptr;
  const PersonalizeResult* result = nullptr;
  // Sides: base, then persona if one was chosen, then personalized.
  std::vector<WritingSample> samples;
  std::vector<StageCost> stages;
  std::string energy_source;  // EnergyMeter::source; empty: not measured
  std::string model_path, catalog_path, adapter_path;
  int64_t bytes_written = 0;  // the adapter's file; 0: none was written
  std::string undo_command;   // empty: there is nothing to undo
  absl::Time time;
};

// REQUIRES: catalog and result are set and belong together.
std::string PersonalReportPage(const PersonalReport& report);

// Atomic, mode 0600.
absl::Status WritePersonalReport(const PersonalReport& report, const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_PERSONAL_REPORT_H_
