#include "device/trainer/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/trainer/checkpoint.h"
#include "device/trainer/memory_meter.h"
#include "device/trainer/packing.h"
#include "device/trainer/training_run.h"

namespace lorikeet {
namespace {

// Tokens that go through an evaluation at once, at most; bounds its memory.
constexpr int64_t kEvalTokens = 2048;

absl::Status CheckOptions(const TrainOptions& options) {
  const auto refuse = [](const char* name, const char* expected, double got) {
    return absl::InvalidArgumentError(
        absl::StrFormat("training: expected %s %s, got %g", name, expected, got));
  };
  if (options.max_steps < 0) return refuse("max_steps", ">= 0", options.max_steps);
  if (options.max_steps == 0 && !(options.epochs > 0 && options.epochs <= 1e6)) {
    return refuse("epochs", "in (0, 1e6]", options.epochs);
  }
  if (options.batch_size <= 0) return refuse("batch_size", "> 0", options.batch_size);
  if (options.accumulate <= 0) return refuse("accumulate", "> 0", options.accumulate);
  // AdamW moves every parameter by up to some three times the rate: larger ones undo all that a
  // model knows, and AdamW::Undo could not take them back.
  if (!(options.learning_rate > 0 && options.learning_rate <= 1)) {
    return refuse("learning_rate", "in (0, 1]", options.learning_rate);
  }
  if (options.pack_rows < 0) return refuse("pack_rows", ">= 0", options.pack_rows);
  if (options.warmup_steps < 0) return refuse("warmup_steps", ">= 0", options.warmup_steps);
  if (!(options.weight_decay >= 0 && options.weight_decay * options.learning_rate < 1)) {
    return refuse("weight_decay", "in [0, 1 / learning_rate)", options.weight_decay);
  }
  for (const double beta : {options.beta1, options.beta2}) {
    if (!(beta >= 0 && beta < 1)) return refuse("beta", "in [0, 1)", beta);
  }
  if (!(options.epsilon > 0)) return refuse("epsilon", "> 0", options.epsilon);
  if (!(options.clip_gradient_norm >= 0)) {
    return refuse("clip_gradient_norm", ">= 0", options.clip_gradient_norm);
  }
  if (options.eval_every < 0) return refuse("eval_every", ">= 0", options.eval_every);
  if (options.patience < 0) return refuse("patience", ">= 0", options.patience);
  if (!(options.max_joules >= 0) || (options.max_joules > 0 && options.energy == nullptr)) {
    return refuse("max_joules", ">= 0, and a meter with a limit", options.max_joules);
  }
  if (options.checkpoint_every <= 0 && !options.checkpoint_dir.empty()) {
    return refuse("checkpoint_every", "> 0", options.checkpoint_every);
  }
  return absl::OkStatus();
}

// Rows of the longest batch that can come.
int64_t LargestBatch(std::span<const Sequence> train, std::span<const Window> windows,
                     int batch_size) {
  std::vector<int64_t> rows;
  for (const Window& window : windows) rows.push_back(BatchRows(train, window));
  std::sort(rows.rbegin(), rows.rend());
  rows.resize(std::min(rows.size(), static_cast<size_t>(batch_size)));
  return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

// What is trained, on what.
struct TrainSubject {
  std::shared_ptr<const Model> model;
  Trainee& trainee;
  const Adapter& start;  // as trainee has it; empty: all weights
  std::span<const AdapterRef> frozen;
};

// What training will need, and how the engine is to live within it.
struct MemoryForecast {
  int64_t working_set_bytes = 0;
  GradientEngineOptions engine;
};

// `held`: bytes of the process before training, the trained numbers among them.
absl::StatusOr<MemoryForecast> Forecast(const TrainSubject& subject, const TrainingInputs& inputs,
                                        int64_t rows, int64_t held) {
  const TrainOptions& options = inputs.options;
  const int64_t other =
      held + OptimizerBytes(options, !inputs.eval.empty(), subject.trainee.parameter_count());
  MemoryForecast forecast;
  forecast.engine.precision = options.precision;
  const int64_t limit =
      options.max_memory_bytes > 0 ? std::max<int64_t>(1, options.max_memory_bytes - other) : 0;
  ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(subject.model, subject.start, subject.frozen,
                                                     rows, forecast.engine.precision, limit));
  forecast.engine.memory = plan.memory;
  if (limit > 0) {
    const int64_t least = other + plan.least_bytes;
    if (least > options.max_memory_bytes) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "training: batches of %d tokens need at least %d bytes of memory (%d of them held before "
          "training), the limit is %d; smaller batches, a shorter context, a lower rank or fewer "
          "modules need less",
          rows, least, held, options.max_memory_bytes));
    }
  }
  forecast.working_set_bytes = other + plan.engine_bytes;
  return forecast;
}

// Sequences in which at least one token counts.
absl::Status CheckSequences(std::span<const Sequence> sequences, const char* name) {
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& sequence = sequences[i];
    const bool counts = sequence.tokens.size() > 1 &&
                        (sequence.loss_mask.empty() ||
                         std::any_of(sequence.loss_mask.begin() + 1, sequence.loss_mask.end(),
                                     [](float weight) { return weight > 0; }));
    if (!counts) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s sequence %d: expected a token to learn behind the first, got %d tokens", name, i,
          sequence.tokens.size()));
    }
  }
  return absl::OkStatus();
}

// A run of checked inputs.
absl::StatusOr<TrainResult> RunTraining(const TrainSubject& subject, const EngineSource& engines,
                                        TrainingInputs inputs) {
  const TrainOptions& options = inputs.options;
  if (inputs.train.empty()) {
    return absl::InvalidArgumentError("training: expected at least one sequence, got none");
  }
  RETURN_IF_ERROR(CheckSequences(inputs.train, "training"));
  RETURN_IF_ERROR(CheckSequences(inputs.eval, "evaluation"));
  const std::vector<Window> windows = MakeWindows(inputs.train, options.pack_rows, options.seed);
  inputs.windows = windows;
  int64_t rows = LargestBatch(inputs.train, windows, options.batch_size);
  for (const Sequence& sequence : inputs.eval) rows = std::max(rows, BatchRows(sequence));
  // No more at once than training takes, so that the memory limit holds.
  inputs.eval_rows = std::min(kEvalTokens, rows);
  ReturnFreeMemory();
  ASSIGN_OR_RETURN(const MemoryForecast forecast,
                   Forecast(subject, inputs, rows, MemoryMeter().Now()));
  inputs.predicted_working_set_bytes = forecast.working_set_bytes;
  TrainIdentity identity;
  std::unique_ptr<FileLock> lock;
  if (!options.checkpoint_dir.empty()) {
    ASSIGN_OR_RETURN(lock, OpenCheckpointDirectory(options.checkpoint_dir));
    identity = IdentifyRun(subject.model->fingerprint(), options, subject.start, subject.frozen,
                           inputs.train, inputs.eval);
  }
  TrainingRun run(inputs, subject.trainee, std::move(identity), std::move(lock));
  GradientEngineOptions engine_options = forecast.engine;
  engine_options.pause_point = run.PausePoint();
  ASSIGN_OR_RETURN(auto engine, engines({.trained = subject.start,
                                         .frozen = subject.frozen,
                                         .rows = rows,
                                         .options = engine_options}));
  return run.Run(std::move(engine));
}

EngineSource OwnEngine(const std::shared_ptr<const Model>& model, ThreadPool* pool) {
  return [model, pool](const EngineRequest& request) {
    return GradientEngine::Create(model, pool, request.options);
  };
}

}  // namespace

absl::StatusOr<GradientResult> EvaluateLoss(std::shared_ptr<const Model> model, ThreadPool* pool,
                                            std::span<const AdapterRef> adapters,
                                            std::span<const Sequence> sequences) {
  RETURN_IF_ERROR(CheckSequences(sequences, "evaluated"));
  if (sequences.empty()) {
    return absl::InvalidArgumentError("evaluation: expected at least one sequence, got none");
  }
  ASSIGN_OR_RETURN(const auto engine, GradientEngine::Create(std::move(model), pool));
  AdapterTrainee trainee(Adapter(), adapters);
  return EvaluateInGroups(*engine, trainee, sequences, kEvalTokens,
                          [] { return absl::OkStatus(); });
}

int64_t OptimizerBytes(const TrainOptions& options, bool evaluates, int64_t parameter_count) {
  // Gradient and two moments; a sum of gradients; the best parameters.
  int64_t copies = 3;
  if (options.accumulate > 1) ++copies;
  if (options.keep_best && evaluates && options.spill_dir.empty()) ++copies;
  return copies * parameter_count * static_cast<int64_t>(sizeof(float));
}

absl::StatusOr<TrainResult> TrainAdapter(const AdapterTraining& training, Adapter start,
                                         const EngineSource& engines) {
  const auto& [model, clock, frozen, train, eval, options, progress] = training;
  RETURN_IF_ERROR(CheckOptions(options));
  RETURN_IF_ERROR(model->CheckAdapter(start));
  for (const AdapterRef& ref : frozen) RETURN_IF_ERROR(model->CheckAdapter(*ref.adapter));
  if (start.matrices.empty()) {
    return absl::InvalidArgumentError("training: expected an adapter with matrices, got none");
  }
  AdapterTrainee trainee(std::move(start), frozen);
  ASSIGN_OR_RETURN(TrainResult result,
                   RunTraining({model, trainee, trainee.adapter(), frozen}, engines,
                               {.clock = clock,
                                .train = train,
                                .windows = {},
                                .eval = eval,
                                .options = options,
                                .progress = progress}));
  result.adapter = trainee.Take();
  return result;
}

absl::StatusOr<TrainResult> Train(std::shared_ptr<const Model> model, ThreadPool* pool,
                                  const Clock& clock, Adapter start,
                                  std::span<const AdapterRef> frozen,
                                  std::span<const Sequence> train, std::span<const Sequence> eval,
                                  const TrainOptions& options, const ProgressCallback& progress) {
  return TrainAdapter({.model = model,
                       .clock = clock,
                       .frozen = frozen,
                       .train = train,
                       .eval = eval,
                       .options = options,
                       .progress = progress},
                      std::move(start), OwnEngine(model, pool));
}

absl::StatusOr<TrainResult> TrainModel(TrainableModel& model, ThreadPool* pool, const Clock& clock,
                                       std::span<const Sequence> train,
                                       std::span<const Sequence> eval, const TrainOptions& options,
                                       const ProgressCallback& progress) {
  RETURN_IF_ERROR(CheckOptions(options));
  TrainOptions exact = options;
  exact.precision = TrainPrecision::kExact;
  ModelTrainee trainee(model);
  const Adapter none;
  return RunTraining({model.model(), trainee, none, {}}, OwnEngine(model.model(), pool),
                     {.clock = clock,
                      .train = train,
                      .windows = {},
                      .eval = eval,
                      .options = exact,
                      .progress = progress});
}

}  // namespace lorikeet
