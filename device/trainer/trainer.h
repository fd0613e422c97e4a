// Training an adapter: batches, AdamW, schedules, held-out loss, early stop, checkpoints.
//
// Not here: reading text (data.h), gradients (gradient.h), the checkpoint's format (checkpoint.h).
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
#include "device/trainer/gradient.h"
#include "device/trainer/make_adapter.h"

namespace lorikeet {

enum class Schedule { kConstant, kLinear, kCosine };

struct TrainOptions {
  int max_steps = 0;  // 0: by epochs
  double epochs = 3;
  int batch_size = 4;  // windows per optimizer step
  // Short sequences share a window of up to so many rows (packing.h); 0: each is its own window.
  int64_t pack_rows = 0;
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
  absl::Duration max_duration =
      absl::InfiniteDuration();  // of this call; time before a resume does not count
  int64_t max_memory_bytes =
      0;  // of training's buffers (the mapped model is not counted); 0 = no limit
  std::string checkpoint_dir;  // empty: none
  int checkpoint_every = 10;   // steps
  bool resume = false;  // from checkpoint_dir, if there is one; thread count must be the same
};

struct LossPoint {
  int step = 0;
  double loss = 0;
};

struct TrainResult {
  Adapter adapter;
  int steps = 0;
  int64_t tokens = 0;
  std::vector<LossPoint> train_loss;  // every step, nats a token
  std::vector<LossPoint> eval_loss;   // step 0 (before training) first
  double tokens_per_second = 0;       // of this call's steps, evaluations left out
  int64_t working_set_bytes = 0;      // buffers of training; the mapped model is not counted
  std::string stopped_because;  // "steps", "epochs", "patience", "time", "cancelled", "non-finite"
  std::string failure;          // for "non-finite": the step and the tensor
};

struct TrainProgress {
  int step = 0;
  int total_steps = 0;
  double loss = 0;
  std::optional<double> eval_loss;
  double tokens_per_second = 0;
};

// Returns false to stop after this step (the result is kept; stopped_because = "cancelled").
using ProgressCallback = std::function<bool(const TrainProgress&)>;

// Mean token loss (nats) of sequences under the given adapters, no gradients.  Sequences go through
// in groups of a bounded number of tokens.
absl::StatusOr<GradientResult> EvaluateLoss(std::shared_ptr<const Model> model, ThreadPool* pool,
                                            std::span<const AdapterRef> adapters,
                                            std::span<const Sequence> sequences);

// Trains `start` on `train` with `frozen` adapters active.  Deterministic: same inputs, seed,
// threads and ISA, same adapter byte for byte, also across a kill and resume.  An empty `eval`
// means no evaluation and no early stop. A loss or gradient that is not finite stops training: the
// result holds the last good state (the best evaluated one with keep_best), stopped_because =
// "non-finite" and the failure; INTERNAL if there was no good step. INVALID_ARGUMENT: options out
// of range, nothing to train or learn.  Errors as CheckAdapter and ReadCheckpoint.
absl::StatusOr<TrainResult> Train(std::shared_ptr<const Model> model, ThreadPool* pool,
                                  const Clock& clock, Adapter start,
                                  std::span<const AdapterRef> frozen,
                                  std::span<const Sequence> train, std::span<const Sequence> eval,
                                  const TrainOptions& options,
                                  const ProgressCallback& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_TRAINER_H_
