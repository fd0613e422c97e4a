// finetune --report: what a run was, in words, for device/trainer/train_report.h.
#ifndef LORIKEET_DEVICE_CLI_FINETUNE_REPORT_H_
#define LORIKEET_DEVICE_CLI_FINETUNE_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "device/cli/engine.h"
#include "device/trainer/data.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

// Paths as they were given; the report names files without their folders.
struct FinetuneFacts {
  std::string model;
  std::string data;
  std::string out;
  std::vector<std::string> frozen;  // adapters
  std::string origin;               // of the adapter's numbers
  int context = 0;                  // tokens of a window
  TrainOptions options;
  std::string energy_source;  // EnergyMeter::source
};

// Found before training, not after it.  Usage error: the folder of `path` is not there; empty: OK.
absl::Status CheckReportPath(const std::string& path);

// The page.
std::string FinetuneReportPage(const FinetuneFacts& facts, const Engine& engine,
                               const Dataset& dataset, const TrainResult& result);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_FINETUNE_REPORT_H_
