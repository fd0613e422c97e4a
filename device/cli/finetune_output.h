// What `lorikeet finetune` shows and writes besides the adapter: progress, metrics, the result.
#ifndef LORIKEET_DEVICE_CLI_FINETUNE_OUTPUT_H_
#define LORIKEET_DEVICE_CLI_FINETUNE_OUTPUT_H_

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/cli/program.h"
#include "common/cli/progress.h"
#include "device/trainer/data.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

// --metrics: one JSON object a line.  A step: step, epoch, loss, learning_rate, gradient_norm,
// tokens, tokens_per_s, working_set, seconds; an evaluation: step, eval_loss.  Every line is in the
// file as soon as it is known.
class MetricsFile {
 public:
  // A new file; with `resume` the one that is there is gone on with: lines of steps that the
  // checkpoint does not know are taken out.  Empty path: writes nothing.
  static absl::StatusOr<std::unique_ptr<MetricsFile>> Open(const std::string& path, bool resume);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  // What can no longer be written (disk full) is said once, as a warning; training goes on.
  void Add(const TrainProgress& progress);
  // Evaluations that came after the last report.
  void Finish(const TrainResult& result);

 private:
  MetricsFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  void Line(const nlohmann::json& object);
  void KeepUpTo(int step);

  std::string path_;
  int fd_;  // -1: none
  int evaluated_ = -1;
};

// The progress line.  Not thread-safe.
class TrainingLine {
 public:
  explicit TrainingLine(bool enabled) : line_(enabled, "finetune") {}
  void Show(const TrainProgress& progress);
  void ShowPaused();

 private:
  ProgressLine line_;
  TrainProgress last_;
  std::string held_out_;
};

// The keys of finetune's JSON that the result gives.
nlohmann::json TrainResultJson(const TrainResult& result, std::string_view energy_source);
void PrintTrainResult(const TrainResult& result, std::string_view energy_source,
                      const std::string& path, Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_FINETUNE_OUTPUT_H_
