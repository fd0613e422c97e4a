// One call of Train: the loop and what it holds.  Not for use outside this folder: see trainer.h.
#ifndef LORIKEET_DEVICE_TRAINER_TRAINING_RUN_H_
#define LORIKEET_DEVICE_TRAINER_TRAINING_RUN_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/file_lock.h"
#include "device/trainer/adamw.h"
#include "device/trainer/batch_sampler.h"
#include "device/trainer/checkpoint.h"
#include "device/trainer/gradient.h"
#include "device/trainer/memory_meter.h"
#include "device/trainer/packing.h"
#include "device/trainer/parameter_store.h"
#include "device/trainer/parameters.h"
#include "device/trainer/trainee.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

// Borrows; all of it outlives the run.
struct TrainingInputs {
  const Clock& clock;
  std::span<const Sequence> train;
  std::span<const Window> windows;  // of train
  std::span<const Sequence> eval;
  const TrainOptions& options;
  const ProgressCallback& progress;
  int64_t eval_rows = 0;  // that go through an evaluation at once, about
  int64_t predicted_working_set_bytes = 0;
};

// Loss of all sequences, in groups of about `rows` tokens.  `between` is called before each group;
// its error ends the evaluation.
absl::StatusOr<GradientResult> EvaluateInGroups(GradientEngine& engine, Trainee& trainee,
                                                std::span<const Sequence> sequences, int64_t rows,
                                                const std::function<absl::Status()>& between);

// Not thread-safe.  Used once: construct, Run.
class TrainingRun {
 public:
  // Changes `trainee`, which is borrowed.  REQUIRES: checked inputs and options.
  TrainingRun(const TrainingInputs& inputs, Trainee& trainee, TrainIdentity identity,
              std::unique_ptr<FileLock> checkpoint_lock);

  // What the engine is to call between pieces of its work; valid while this object is.
  std::function<absl::Status()> PausePoint() {
    return [this] { return Pause(); };
  }
  // The result's adapter is left to the caller.
  absl::StatusOr<TrainResult> Run(std::unique_ptr<GradientEngine> engine);

 private:
  // Evaluation before training, or what a checkpoint says.
  absl::Status Begin();
  absl::Status Restore(const Checkpoint& checkpoint);
  // A step, with evaluation and checkpoint when they are due.
  absl::Status Advance();
  absl::Status Step();
  // Gradient of the step's windows, in batches; where it lies: gradient().
  absl::StatusOr<GradientResult> ComputeGradient(std::span<const size_t> windows, int64_t* tokens);
  void Accumulate(double weight, bool first);
  std::vector<std::span<const float>> gradient() const;
  absl::Status EvaluateNow();
  // A checkpoint, unless it is there already.  What goes wrong becomes the failure.
  void Save();
  absl::Status Pause();
  void Report(bool begins);
  // Empty: go on.
  std::string StopReason() const;
  absl::StatusOr<TrainResult> Finish(std::string reason);
  absl::Status TakeBest(const std::string& reason);
  // Notes that training cannot go on.
  absl::Status Fail(std::string_view what);

  absl::Duration Paused() const;
  absl::Duration Working() const;  // since the start, pauses left out
  double Joules() const;
  double TokensPerSecond() const;
  double RateOf(int step) const;
  bool EvaluatedNow() const {
    return !state_.eval_loss.empty() && state_.eval_loss.back().step == state_.step;
  }

  TrainingInputs in_;
  const TrainOptions& options_;
  Trainee& trainee_;
  TrainIdentity identity_;
  std::unique_ptr<FileLock> checkpoint_lock_;
  std::unique_ptr<GradientEngine> engine_;
  const std::vector<ParameterSpan>& parameters_;  // of trainee_
  std::vector<std::span<float>> values_;          // of parameters_
  std::vector<std::span<const float>> const_values_;
  AdamW optimizer_;
  BatchSampler sampler_;
  MemoryMeter memory_;
  std::unique_ptr<ParameterStore> best_;  // null: not wanted
  std::vector<float> sum_;                // weighted, of the step's batches; empty: one a step
  TrainState state_;                      // its sampler is filled only to be written
  int total_steps_ = 0;
  int eval_every_ = 0;
  int first_step_ = 0;   // done before this call
  int saved_step_ = -1;  // of the checkpoint on disk
  int64_t tokens_before_ = 0;
  absl::Time started_;
  absl::Duration paused_before_;
  double joules_before_ = 0;
  double joules_ = 0;                                // of this call, after the last step
  absl::Duration step_time_ = absl::ZeroDuration();  // of this call, evaluations left out
  bool cancelled_ = false;
  bool finishing_ = false;
  std::string failure_;
  std::string failure_reason_;  // as stopped_because
};

// What Train takes; borrows.
struct AdapterTraining {
  std::shared_ptr<const Model> model;
  const Clock& clock;
  std::span<const AdapterRef> frozen;
  std::span<const Sequence> train;
  std::span<const Sequence> eval;
  const TrainOptions& options;
  const ProgressCallback& progress;
};

// What a run knows when it asks for its engine: adapters, rows of its largest batch, and the
// options that it would give an engine of its own.
struct EngineRequest {
  const Adapter& trained;
  std::span<const AdapterRef> frozen;
  int64_t rows = 0;
  const GradientEngineOptions& options;
};
using EngineSource =
    std::function<absl::StatusOr<std::unique_ptr<GradientEngine>>(const EngineRequest& request)>;

// Train, with gradients from elsewhere than an engine of its own; `engines` is called once, when
// all is checked.  Errors as Train and `engines`.
absl::StatusOr<TrainResult> TrainAdapter(const AdapterTraining& training, Adapter start,
                                         const EngineSource& engines);

// What training holds besides the trained numbers and the engine: gradient, moments, and the best
// numbers where they are kept in memory.  `evaluates`: there are sequences to judge by.
int64_t OptimizerBytes(const TrainOptions& options, bool evaluates, int64_t parameter_count);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_TRAINING_RUN_H_
