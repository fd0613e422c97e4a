// The report of a training run: one HTML page that needs nothing else (common/report).
//
// It holds numbers, file names and options, and not a word of what was trained on: everything in it
// comes from TrainReport.
#ifndef LORIKEET_DEVICE_TRAINER_TRAIN_REPORT_H_
#define LORIKEET_DEVICE_TRAINER_TRAIN_REPORT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "device/trainer/trainer.h"

namespace lorikeet {

struct TrainReport {
  std::string title;
  // What the run was, first to last, e.g. {"model", "finch-7m-q4_0.gguf"}.
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<std::string> warnings;  // besides those that the result gives
  const TrainResult* result = nullptr;
  std::string energy_source;  // "rapl", "model"; empty: not measured
};

// "8 on all matrices", or by module: "8 on q, v; 16 on down".  REQUIRES: every layer alike.
std::string DescribeRanks(const Adapter& adapter);

// A whole HTML document.  REQUIRES: report.result is set.
std::string TrainReportPage(const TrainReport& report);

// Mean of the points before and at each, weighed by exp(-distance / span); as many points.
std::vector<LossPoint> Smoothed(const std::vector<LossPoint>& points, double span);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_TRAIN_REPORT_H_
