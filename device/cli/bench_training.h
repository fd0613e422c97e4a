// The training part of `lorikeet bench`: optimizer steps of a fresh LoRA beside forward passes over
// the same tokens, in turns.
#ifndef LORIKEET_DEVICE_CLI_BENCH_TRAINING_H_
#define LORIKEET_DEVICE_CLI_BENCH_TRAINING_H_

#include <cstdint>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "common/cli/program.h"
#include "common/cli/progress.h"
#include "device/cli/bench_common.h"
#include "device/cli/engine.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

struct TrainingBenchOptions {
  int tokens = 256;  // of the sequence; 0: nothing is measured
  int repeat = 5;
  bool recompute = true;  // steps that keep only the inputs of layers
  bool keep = true;       // steps that keep all activations
  TrainPrecision precision = TrainPrecision::kFast;
};

struct TrainingRates {
  int tokens = 0;
  Rates recompute, keep;  // whole steps: loss, gradients, clipping, AdamW
  Rates forward;          // the runtime's pass, logits at every position
  Rates loss;             // the trainer's own pass: the same logits, adapters, and the loss
  TrainPrecision precision = TrainPrecision::kFast;
  int64_t parameters = 0;
  int64_t engine_bytes = 0;  // buffers of the plan that steps() are of
  // Of the process at the peak of its first step, without pages of the file, and what was computed
  // before.
  int64_t working_set = 0;
  int64_t peak_rss = 0;  // then, with pages of the file; before forward passes are measured
  int64_t predicted_working_set = 0;

  // Of the plan that needs the least memory among those measured.
  const Rates& steps() const { return recompute.empty() ? keep : recompute; }
};

// LoRA of rank 8 on all matrices, batch 1.  The first round warms up and is dropped.
absl::StatusOr<TrainingRates> MeasureTraining(const Engine& engine,
                                              const TrainingBenchOptions& options,
                                              ProgressLine& progress);

// One step of several adapters side by side, a sequence each (train_many.h), beside one step of a
// single adapter on all these sequences, in turns.
struct SideBySideRates {
  int learners = 0;
  int tokens = 0;  // of a sequence
  Rates many, one;
};
absl::StatusOr<SideBySideRates> MeasureSideBySide(const Engine& engine,
                                                  const TrainingBenchOptions& options, int learners,
                                                  ProgressLine& progress);
void PrintSideBySide(Output& output, const SideBySideRates& rates);
// Null when nothing was measured.
nlohmann::json SideBySideJson(const SideBySideRates& rates);

void PrintTraining(Output& output, const TrainingRates& rates);
// Null when nothing was measured.
nlohmann::json TrainingJson(const TrainingRates& rates);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_BENCH_TRAINING_H_
