// Training an adapter, or all weights of a small model: batches, AdamW, schedules, held-out loss,
// early stop, checkpoints.
//
// What it holds: the parameters, their gradient and two moments (and a sum of gradients where they
// are accumulated), besides what the gradient engine needs.  The best evaluated parameters lie in a
// file without a name, checkpoints are written and read piece by piece, and the last good
// parameters are computed back from the moments if a loss is not finite.
//
// Not here: reading text (data.h), gradients (gradient.h), the checkpoint's format (checkpoint.h),
// who may hold training up (governor.h).
#ifndef LORIKEET_DEVICE_TRAINER_TRAINER_H_
#define LORIKEET_DEVICE_TRAINER_TRAINER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/adapter/adapter.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/model/trainable_model.h"
#include "device/trainer/energy_meter.h"
#include "device/trainer/governor.h"
#include "device/trainer/gradient.h"
#include "device/trainer/make_adapter.h"

namespace lorikeet {

enum class Schedule { kConstant, kLinear, kCosine };

struct TrainOptions {
  int max_steps = 0;  // 0: by epochs
  double epochs = 3;
  int batch_size = 4;  // windows that go through the model at once
  // Batches per optimizer step.  Loss and gradient are means over all tokens of the step, as if it
  // were one batch, but for the order in which floats are added: a step of 2 x 4 is deterministic,
  // and within rounding of one of 1 x 8.
  int accumulate = 1;
  // Short sequences share a window of up to so many rows (packing.h); 0: each is its own window.
  int64_t pack_rows = 0;
  TrainPrecision precision = TrainPrecision::kExact;
  double learning_rate = 1e-3;
  Schedule schedule = Schedule::kCosine;
  int warmup_steps = 0;
  double weight_decay = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double clip_gradient_norm = 1.0;  // global L2; 0 = off
  int eval_every = 0;               // steps between evaluations; 0 = once per epoch
  int patience = 0;                 // evaluations without improvement before stopping; 0 = off
  bool keep_best = true;  // result = adapter of the best evaluation (when there is an eval set)
  uint64_t seed = 1;
  // Limits of this call; time and energy before a resume do not count.  They are looked at between
  // steps: the step that passes one is finished.  Time in which the governor held training up does
  // not count.
  absl::Duration max_duration = absl::InfiniteDuration();
  double max_joules = 0;  // 0: no limit; needs `energy`
  // Working set of this process at its peak (memory_meter.h), what it holds before training
  // included; 0: no limit.
  int64_t max_memory_bytes = 0;
  std::string checkpoint_dir;  // empty: none
  int checkpoint_every = 10;   // steps
  bool resume = false;  // from checkpoint_dir, if there is one; thread count must be the same
  // Where the best parameters wait on disk, in a file that no one else sees; empty: in memory.
  std::string spill_dir;
  TrainingGovernor* governor = nullptr;  // null: nobody holds training up
  EnergyMeter* energy = nullptr;         // null: energy is not measured
};

struct LossPoint {
  int step = 0;
  double loss = 0;
};

// One optimizer step.
struct StepRecord {
  int step = 0;
  double epoch = 0;  // passes over the data when the step was done
  double loss = 0;   // before the step, nats a token
  double learning_rate = 0;
  double gradient_norm = 0;  // before clipping
  int64_t tokens = 0;        // of the step
  // Of this call only; zero for steps before a resume.
  double seconds = 0;  // pauses left out
  double tokens_per_second = 0;
  int64_t working_set_bytes = 0;  // when the step was done
};

struct TrainResult {
  Adapter adapter;         // empty where a model was trained
  int64_t parameters = 0;  // trained numbers
  int steps = 0;
  int64_t tokens = 0;
  std::vector<StepRecord> records;    // every step
  std::vector<LossPoint> train_loss;  // every step, nats a token
  std::vector<LossPoint> eval_loss;   // step 0 (before training) first
  double tokens_per_second = 0;       // of this call's steps; evaluations and pauses left out
  int64_t working_set_bytes = 0;      // of the process, the most that was seen (memory_meter.h)
  int64_t predicted_working_set_bytes = 0;  // the same, as computed before the first step
  double seconds = 0;                       // of this call, pauses included
  double paused_seconds = 0;
  double joules = 0;  // of this call, if measured
  // "steps", "epochs", "patience", "time", "energy", "cancelled", "non-finite", "checkpoint"
  std::string stopped_because;
  // "non-finite": the step and the tensor; "checkpoint": why it could not be written.
  std::string failure;
};

struct TrainProgress {
  bool begins = false;  // the first report, before any step of this call
  int step = 0;         // done; after a resume the first report says how many
  int total_steps = 0;
  double loss = 0;
  std::optional<double> eval_loss;
  double tokens_per_second = 0;                         // of this call
  absl::Duration remaining = absl::InfiniteDuration();  // at this call's pace
  int64_t working_set_bytes = 0;                        // the most so far
  int64_t predicted_working_set_bytes = 0;
  StepRecord record;
};

// Called before the first step and after every one, ahead of its checkpoint.  Returns false to stop
// after this step (the result is kept; stopped_because = "cancelled").
using ProgressCallback = std::function<bool(const TrainProgress&)>;

// Mean token loss (nats) of sequences under the given adapters, no gradients.  Sequences go through
// in groups of a bounded number of tokens.
absl::StatusOr<GradientResult> EvaluateLoss(std::shared_ptr<const Model> model, ThreadPool* pool,
                                            std::span<const AdapterRef> adapters,
                                            std::span<const Sequence> sequences);

// Trains `start` on `train` with `frozen` adapters active.  Deterministic: same inputs, seed,
// threads and ISA, same adapter byte for byte, also across a kill and resume.  An empty `eval`
// means no evaluation and no early stop.
//
// A loss or gradient that is not finite stops training: the result holds the last parameters whose
// loss was finite, up to rounding (AdamW::Undo; with keep_best the best evaluated ones),
// stopped_because = "non-finite" and the failure; INTERNAL if there was no good step.  A checkpoint
// that cannot be written (disk full) stops training with the result so far and "checkpoint"; the
// one before survives.
//
// INVALID_ARGUMENT: options out of range, nothing to train or learn.  RESOURCE_EXHAUSTED: more
// memory needed than max_memory_bytes (names the least), no room in spill_dir; both before the
// first step.  Errors as CheckAdapter, OpenCheckpointDirectory and ReadCheckpoint, and the
// governor's.
absl::StatusOr<TrainResult> Train(std::shared_ptr<const Model> model, ThreadPool* pool,
                                  const Clock& clock, Adapter start,
                                  std::span<const AdapterRef> frozen,
                                  std::span<const Sequence> train, std::span<const Sequence> eval,
                                  const TrainOptions& options,
                                  const ProgressCallback& progress = nullptr);

// The same for all weights of `model`, which holds the result (of an error: unspecified numbers).
// Weight decay is for matrices; precision is exact.  Memory: four copies of the weights besides the
// engine's.
absl::StatusOr<TrainResult> TrainModel(TrainableModel& model, ThreadPool* pool, const Clock& clock,
                                       std::span<const Sequence> train,
                                       std::span<const Sequence> eval, const TrainOptions& options,
                                       const ProgressCallback& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_TRAINER_H_
