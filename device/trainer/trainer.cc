#include "device/trainer/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/trainer/adamw.h"
#include "device/trainer/batch_sampler.h"
#include "device/trainer/checkpoint.h"
#include "device/trainer/packing.h"
#include "device/trainer/parameters.h"

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
  if (!(options.learning_rate > 0) || !std::isfinite(options.learning_rate)) {
    return refuse("a finite learning_rate", "> 0", options.learning_rate);
  }
  if (options.pack_rows < 0) return refuse("pack_rows", ">= 0", options.pack_rows);
  if (options.warmup_steps < 0) return refuse("warmup_steps", ">= 0", options.warmup_steps);
  if (!(options.weight_decay >= 0 && options.weight_decay < 1e6)) {
    return refuse("weight_decay", "in [0, 1e6)", options.weight_decay);
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
  if (options.checkpoint_every <= 0 && !options.checkpoint_dir.empty()) {
    return refuse("checkpoint_every", "> 0", options.checkpoint_every);
  }
  return absl::OkStatus();
}

absl::StatusOr<GradientResult> Evaluate(GradientEngine& engine, const Adapter& adapter,
                                        std::span<const AdapterRef> frozen,
                                        std::span<const Sequence> sequences,
                                        int64_t tokens_at_once = kEvalTokens) {
  GradientResult total;
  for (size_t begin = 0; begin < sequences.size();) {
    size_t end = begin;
    for (int64_t tokens = 0; end < sequences.size(); ++end) {
      tokens += static_cast<int64_t>(sequences[end].tokens.size());
      if (end > begin && tokens > tokens_at_once) break;
    }
    ASSIGN_OR_RETURN(
        const GradientResult part,
        engine.Compute(adapter, frozen, sequences.subspan(begin, end - begin), nullptr));
    total.loss_sum += part.loss_sum;
    total.weight_sum += part.weight_sum;
    begin = end;
  }
  return total;
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

struct RunInputs {
  const Clock& clock;
  std::span<const AdapterRef> frozen;
  std::span<const Sequence> train;
  std::span<const Window> windows;  // of train
  std::span<const Sequence> eval;
  const TrainOptions& options;
  const ProgressCallback& progress;
};

// One call of Train.
class TrainingRun {
 public:
  TrainingRun(const RunInputs& inputs, Adapter start, TrainIdentity identity,
              std::unique_ptr<GradientEngine> engine)
      : in_(inputs),
        adapter_(std::move(start)),
        identity_(std::move(identity)),
        engine_(std::move(engine)),
        parameters_(TrainedParameters(adapter_)),
        optimizer_({.beta1 = inputs.options.beta1,
                    .beta2 = inputs.options.beta2,
                    .epsilon = inputs.options.epsilon,
                    .weight_decay = inputs.options.weight_decay},
                   Flatten(parameters_).size()),
        sampler_(inputs.windows.size(), inputs.options.batch_size, inputs.options.seed),
        started_(inputs.clock.Now()) {
    for (const ParameterSpan& parameter : parameters_) values_.push_back(parameter.values);
    const double batches = static_cast<double>(sampler_.batches_per_epoch());
    total_steps_ = in_.options.max_steps > 0
                       ? in_.options.max_steps
                       : std::max(1, static_cast<int>(std::ceil(in_.options.epochs * batches)));
    // No more at once than training takes, so that the memory limit holds.
    eval_tokens_ = std::min(kEvalTokens,
                            LargestBatch(inputs.train, inputs.windows, inputs.options.batch_size));
    eval_every_ = in_.options.eval_every > 0 ? in_.options.eval_every
                                             : static_cast<int>(sampler_.batches_per_epoch());
  }

  absl::StatusOr<TrainResult> Run();

 private:
  absl::Status Begin();
  absl::Status Restore(TrainState state);
  // A step, with evaluation and checkpoint when they are due.
  absl::Status Advance();
  absl::Status Step();
  absl::Status EvaluateNow();
  absl::Status Save();
  // Empty: go on.
  std::string StopReason() const;
  absl::StatusOr<TrainResult> Finish(std::string reason);
  double TokensPerSecond() const;
  bool EvaluatedNow() const {
    return !state_.eval_loss.empty() && state_.eval_loss.back().step == state_.step;
  }
  // Notes that training cannot go on.
  absl::Status Fail(std::string_view what);

  RunInputs in_;
  Adapter adapter_;
  TrainIdentity identity_;
  std::unique_ptr<GradientEngine> engine_;
  std::vector<ParameterSpan> parameters_;
  std::vector<std::span<float>> values_;
  AdamW optimizer_;
  BatchSampler sampler_;
  absl::Time started_;
  absl::Duration step_time_ = absl::ZeroDuration();  // of this call, evaluations left out
  int total_steps_ = 0;
  int eval_every_ = 0;
  int64_t eval_tokens_ = 0;
  TrainState state_;  // its parameters, moments and sampler are filled only to be written
  std::vector<MatrixGradient> gradients_;
  std::vector<float> last_good_;  // parameters whose loss was finite; empty: none
  int64_t tokens_before_ = 0;     // of the runs that this one continues
  bool cancelled_ = false;
  std::string failure_;
};

absl::Status TrainingRun::Fail(std::string_view what) {
  failure_ = absl::StrCat("step ", state_.step + 1, ": ", ToAbsl(what));
  if (last_good_.empty()) return absl::InternalError(absl::StrCat("training, ", failure_));
  Unflatten(last_good_, parameters_);
  return absl::OkStatus();
}

absl::Status TrainingRun::Begin() {
  if (in_.options.resume && !in_.options.checkpoint_dir.empty()) {
    ASSIGN_OR_RETURN(std::optional<TrainState> state,
                     ReadCheckpoint(in_.options.checkpoint_dir, identity_));
    if (state.has_value()) return Restore(std::move(*state));
  }
  return in_.eval.empty() ? absl::OkStatus() : EvaluateNow();
}

absl::Status TrainingRun::Restore(TrainState state) {
  const size_t count = optimizer_.first_moments().size();
  const bool fits = state.parameters.size() == count && state.first_moments.size() == count &&
                    state.second_moments.size() == count && state.step >= 0 &&
                    (state.best_parameters.empty() || state.best_parameters.size() == count) &&
                    state.sampler.used <= in_.windows.size();
  if (!fits) return absl::DataLossError("checkpoint malformed: its lists do not fit the adapter");
  state_ = std::move(state);
  Unflatten(state_.parameters, parameters_);
  optimizer_.Restore(std::move(state_.first_moments), std::move(state_.second_moments));
  sampler_.Restore(state_.sampler);
  tokens_before_ = state_.tokens;
  last_good_ = std::move(state_.parameters);
  return absl::OkStatus();
}

absl::Status TrainingRun::Step() {
  std::vector<Sequence> batch;
  int64_t tokens = 0;
  for (const size_t window : sampler_.Next()) {
    for (const size_t index : in_.windows[window]) {
      batch.push_back(in_.train[index]);
      tokens += static_cast<int64_t>(in_.train[index].tokens.size());
    }
  }
  const absl::StatusOr<GradientResult> loss =
      engine_->Compute(adapter_, in_.frozen, batch, &gradients_);
  if (loss.status().code() == absl::StatusCode::kInternal) return Fail(Message(loss.status()));
  RETURN_IF_ERROR(loss.status());
  const auto spans = GradientSpans(adapter_.info.kind, gradients_);
  if (const int bad = FirstNonFinite(spans); bad >= 0) {
    return Fail(
        absl::StrCat("expected a finite gradient, got one that is not in ", parameters_[bad].name));
  }
  const double norm = GlobalNorm(spans);
  const double limit = in_.options.clip_gradient_norm;
  const double scale = limit > 0 && norm > limit ? limit / norm : 1.0;
  last_good_ = Flatten(parameters_);
  ++state_.step;
  optimizer_.Update(state_.step, LearningRateAt(in_.options, state_.step, total_steps_), scale,
                    spans, values_);
  state_.tokens += tokens;
  state_.train_loss.push_back({state_.step, loss->loss()});
  return absl::OkStatus();
}

absl::Status TrainingRun::EvaluateNow() {
  const absl::StatusOr<GradientResult> loss =
      Evaluate(*engine_, adapter_, in_.frozen, in_.eval, eval_tokens_);
  if (loss.status().code() == absl::StatusCode::kInternal) return Fail(Message(loss.status()));
  RETURN_IF_ERROR(loss.status());
  const bool first = state_.eval_loss.empty();
  state_.eval_loss.push_back({state_.step, loss->loss()});
  if (first || loss->loss() < state_.best_loss) {
    state_.best_loss = loss->loss();
    state_.best_parameters = Flatten(parameters_);
    state_.evaluations_without_improvement = 0;
  } else {
    ++state_.evaluations_without_improvement;
  }
  return absl::OkStatus();
}

absl::Status TrainingRun::Save() {
  if (in_.options.checkpoint_dir.empty()) return absl::OkStatus();
  TrainState saved = state_;
  saved.parameters = Flatten(parameters_);
  saved.first_moments = optimizer_.first_moments();
  saved.second_moments = optimizer_.second_moments();
  saved.sampler = sampler_.state();
  return WriteCheckpoint(in_.options.checkpoint_dir, identity_, saved);
}

double TrainingRun::TokensPerSecond() const {
  const double seconds = absl::ToDoubleSeconds(step_time_);
  return seconds > 0 ? static_cast<double>(state_.tokens - tokens_before_) / seconds : 0;
}

std::string TrainingRun::StopReason() const {
  if (!failure_.empty()) return "non-finite";
  if (state_.step >= total_steps_) return in_.options.max_steps > 0 ? "steps" : "epochs";
  if (in_.options.patience > 0 && state_.evaluations_without_improvement >= in_.options.patience) {
    return "patience";
  }
  if (cancelled_) return "cancelled";
  if (in_.clock.Now() - started_ >= in_.options.max_duration) return "time";
  return "";
}

absl::Status TrainingRun::Advance() {
  const absl::Time begin = in_.clock.Now();
  RETURN_IF_ERROR(Step());
  step_time_ += in_.clock.Now() - begin;
  if (!failure_.empty()) return absl::OkStatus();
  const bool last = state_.step >= total_steps_;
  if (!in_.eval.empty() && (last || state_.step % eval_every_ == 0)) {
    RETURN_IF_ERROR(EvaluateNow());
    if (!failure_.empty()) return absl::OkStatus();
  }
  if (last || state_.step % std::max(1, in_.options.checkpoint_every) == 0) RETURN_IF_ERROR(Save());
  if (in_.progress == nullptr) return absl::OkStatus();
  TrainProgress progress;
  progress.step = state_.step;
  progress.total_steps = total_steps_;
  progress.loss = state_.train_loss.back().loss;
  if (EvaluatedNow()) progress.eval_loss = state_.eval_loss.back().loss;
  progress.tokens_per_second = TokensPerSecond();
  cancelled_ = !in_.progress(progress);
  return absl::OkStatus();
}

absl::StatusOr<TrainResult> TrainingRun::Finish(std::string reason) {
  // What is written here is what an unhurried run would have at this step; the evaluation below is
  // for the result only.
  if (reason != "non-finite") RETURN_IF_ERROR(Save());
  const double tokens_per_second = TokensPerSecond();
  if (!in_.eval.empty() && !EvaluatedNow() && reason != "non-finite") {
    RETURN_IF_ERROR(EvaluateNow());
    if (!failure_.empty()) reason = "non-finite";
  }
  if (in_.options.keep_best && !state_.best_parameters.empty()) {
    Unflatten(state_.best_parameters, parameters_);
  }
  TrainResult result;
  result.adapter = adapter_;
  result.steps = state_.step;
  result.tokens = state_.tokens;
  result.train_loss = std::move(state_.train_loss);
  result.eval_loss = std::move(state_.eval_loss);
  result.tokens_per_second = tokens_per_second;
  result.working_set_bytes =
      engine_->working_set_bytes() +
      static_cast<int64_t>(optimizer_.first_moments().size() * sizeof(float) * 6);
  result.stopped_because = std::move(reason);
  result.failure = std::move(failure_);
  return result;
}

absl::StatusOr<TrainResult> TrainingRun::Run() {
  RETURN_IF_ERROR(Begin());
  for (;;) {
    std::string reason = StopReason();
    if (!reason.empty()) return Finish(std::move(reason));
    RETURN_IF_ERROR(Advance());
  }
}

// What the gradient engine may keep of activations within the memory limit.
absl::StatusOr<GradientEngineOptions> EngineOptions(const Model& model, const Adapter& start,
                                                    std::span<const Sequence> train,
                                                    std::span<const Window> windows,
                                                    const TrainOptions& options) {
  GradientEngineOptions engine_options;
  if (options.max_memory_bytes <= 0) return engine_options;
  const int64_t largest = LargestBatch(train, windows, options.batch_size);
  const int64_t needed = EstimateWorkingSet(model, start, largest);
  if (needed > options.max_memory_bytes) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "training: a batch of %d tokens needs %d bytes, the limit is %d; smaller batches or a "
        "shorter context need less",
        largest, needed, options.max_memory_bytes));
  }
  engine_options.kept_activation_bytes =
      std::min(engine_options.kept_activation_bytes, options.max_memory_bytes - needed);
  return engine_options;
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

}  // namespace

absl::StatusOr<GradientResult> EvaluateLoss(std::shared_ptr<const Model> model, ThreadPool* pool,
                                            std::span<const AdapterRef> adapters,
                                            std::span<const Sequence> sequences) {
  RETURN_IF_ERROR(CheckSequences(sequences, "evaluated"));
  if (sequences.empty()) {
    return absl::InvalidArgumentError("evaluation: expected at least one sequence, got none");
  }
  ASSIGN_OR_RETURN(const auto engine, GradientEngine::Create(std::move(model), pool));
  return Evaluate(*engine, Adapter(), adapters, sequences);
}

absl::StatusOr<TrainResult> Train(std::shared_ptr<const Model> model, ThreadPool* pool,
                                  const Clock& clock, Adapter start,
                                  std::span<const AdapterRef> frozen,
                                  std::span<const Sequence> train, std::span<const Sequence> eval,
                                  const TrainOptions& options, const ProgressCallback& progress) {
  RETURN_IF_ERROR(CheckOptions(options));
  RETURN_IF_ERROR(model->CheckAdapter(start));
  for (const AdapterRef& ref : frozen) RETURN_IF_ERROR(model->CheckAdapter(*ref.adapter));
  if (start.matrices.empty()) {
    return absl::InvalidArgumentError("training: expected an adapter with matrices, got none");
  }
  if (train.empty()) {
    return absl::InvalidArgumentError("training: expected at least one sequence, got none");
  }
  RETURN_IF_ERROR(CheckSequences(train, "training"));
  RETURN_IF_ERROR(CheckSequences(eval, "evaluation"));
  const std::vector<Window> windows = MakeWindows(train, options.pack_rows, options.seed);
  ASSIGN_OR_RETURN(const GradientEngineOptions engine_options,
                   EngineOptions(*model, start, train, windows, options));
  ASSIGN_OR_RETURN(auto engine, GradientEngine::Create(model, pool, engine_options));
  TrainIdentity identity;
  if (!options.checkpoint_dir.empty()) {
    identity = IdentifyRun(model->fingerprint(), options, start, frozen, train, eval);
  }
  const RunInputs inputs{clock, frozen, train, windows, eval, options, progress};
  TrainingRun run(inputs, std::move(start), std::move(identity), std::move(engine));
  return run.Run();
}

}  // namespace lorikeet
