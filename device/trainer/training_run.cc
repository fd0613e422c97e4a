#include "device/trainer/training_run.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

std::vector<bool> Decays(std::span<const ParameterSpan> parameters) {
  std::vector<bool> decays;
  for (const ParameterSpan& parameter : parameters) decays.push_back(parameter.decays);
  return decays;
}

}  // namespace

absl::StatusOr<GradientResult> EvaluateInGroups(GradientEngine& engine, Trainee& trainee,
                                                std::span<const Sequence> sequences, int64_t rows,
                                                const std::function<absl::Status()>& between) {
  GradientResult total;
  for (size_t begin = 0; begin < sequences.size();) {
    size_t end = begin;
    for (int64_t tokens = 0; end < sequences.size(); ++end) {
      tokens += static_cast<int64_t>(sequences[end].tokens.size());
      if (end > begin && tokens > rows) break;
    }
    RETURN_IF_ERROR(between());
    ASSIGN_OR_RETURN(const GradientResult part,
                     trainee.Compute(engine, sequences.subspan(begin, end - begin), false));
    total.loss_sum += part.loss_sum;
    total.weight_sum += part.weight_sum;
    begin = end;
  }
  return total;
}

TrainingRun::TrainingRun(const TrainingInputs& inputs, Trainee& trainee, TrainIdentity identity,
                         std::unique_ptr<FileLock> checkpoint_lock)
    : in_(inputs),
      options_(inputs.options),
      trainee_(trainee),
      identity_(std::move(identity)),
      checkpoint_lock_(std::move(checkpoint_lock)),
      parameters_(trainee.parameters()),
      optimizer_({.beta1 = options_.beta1,
                  .beta2 = options_.beta2,
                  .epsilon = options_.epsilon,
                  .weight_decay = options_.weight_decay},
                 CountOf(parameters_), Decays(parameters_)),
      sampler_(inputs.windows.size(),
               static_cast<size_t>(options_.batch_size) * static_cast<size_t>(options_.accumulate),
               options_.seed),
      started_(inputs.clock.Now()) {
  for (const ParameterSpan& parameter : parameters_) {
    values_.push_back(parameter.values);
    const_values_.push_back(parameter.values);
  }
  if (options_.accumulate > 1) sum_.resize(CountOf(parameters_));
  const double batches = static_cast<double>(sampler_.batches_per_epoch());
  total_steps_ = options_.max_steps > 0
                     ? options_.max_steps
                     : std::max(1, static_cast<int>(std::ceil(options_.epochs * batches)));
  eval_every_ = options_.eval_every > 0 ? options_.eval_every
                                        : static_cast<int>(sampler_.batches_per_epoch());
  paused_before_ =
      options_.governor != nullptr ? options_.governor->paused_time() : absl::ZeroDuration();
  joules_before_ = options_.energy != nullptr ? options_.energy->Joules() : 0;
}

absl::Duration TrainingRun::Paused() const {
  if (options_.governor == nullptr) return absl::ZeroDuration();
  return options_.governor->paused_time() - paused_before_;
}

absl::Duration TrainingRun::Working() const { return in_.clock.Now() - started_ - Paused(); }

double TrainingRun::Joules() const {
  return options_.energy != nullptr ? options_.energy->Joules() - joules_before_ : 0;
}

double TrainingRun::RateOf(int step) const { return LearningRateAt(options_, step, total_steps_); }

double TrainingRun::TokensPerSecond() const {
  const double seconds = absl::ToDoubleSeconds(step_time_);
  return seconds > 0 ? static_cast<double>(state_.tokens - tokens_before_) / seconds : 0;
}

absl::Status TrainingRun::Pause() {
  memory_.Sample();
  if (options_.governor == nullptr) return absl::OkStatus();
  const absl::Status status = options_.governor->AtPausePoint();
  // Training that was stopped still evaluates what it has, once.
  return finishing_ && absl::IsCancelled(status) ? absl::OkStatus() : status;
}

absl::Status TrainingRun::Fail(std::string_view what) {
  failure_ = absl::StrCat("step ", state_.step + 1, ": ", ToAbsl(what));
  failure_reason_ = "non-finite";
  if (state_.step == 0) return absl::InternalError(absl::StrCat("training, ", failure_));
  return absl::OkStatus();
}

absl::Status TrainingRun::Begin() {
  if (!in_.eval.empty() && options_.keep_best) {
    ASSIGN_OR_RETURN(best_, ParameterStore::Create(options_.spill_dir, CountOf(parameters_)));
  }
  if (options_.resume && !options_.checkpoint_dir.empty()) {
    ASSIGN_OR_RETURN(const std::optional<Checkpoint> checkpoint,
                     ReadCheckpoint(options_.checkpoint_dir, identity_));
    if (checkpoint.has_value()) return Restore(*checkpoint);
  }
  return in_.eval.empty() ? absl::OkStatus() : EvaluateNow();
}

absl::Status TrainingRun::Restore(const Checkpoint& checkpoint) {
  const size_t count = optimizer_.first_moments().size();
  const bool has_best = !checkpoint.best.empty();
  const bool fits = checkpoint.parameters.size() == count &&
                    checkpoint.first_moments.size() == count &&
                    checkpoint.second_moments.size() == count && checkpoint.state.step >= 0 &&
                    (!has_best || (best_ != nullptr && checkpoint.best.size() == count)) &&
                    checkpoint.state.sampler.used <= in_.windows.size();
  if (!fits) return absl::DataLossError("checkpoint malformed: its lists do not fit the adapter");
  state_ = checkpoint.state;
  Unflatten(checkpoint.parameters, parameters_);
  optimizer_.Restore(checkpoint.first_moments, checkpoint.second_moments);
  if (has_best) RETURN_IF_ERROR(best_->Put({&checkpoint.best, 1}));
  sampler_.Restore(state_.sampler);
  for (StepRecord& record : state_.steps) {
    record.epoch = record.step / static_cast<double>(sampler_.batches_per_epoch());
    record.learning_rate = RateOf(record.step);
  }
  tokens_before_ = state_.tokens;
  first_step_ = saved_step_ = state_.step;
  return absl::OkStatus();
}

void TrainingRun::Accumulate(double weight, bool first) {
  const float factor = static_cast<float>(weight);
  float* sum = sum_.data();
  for (const auto& values : trainee_.gradient()) {
    for (const float value : values) {
      *sum = first ? factor * value : *sum + factor * value;
      ++sum;
    }
  }
}

std::vector<std::span<const float>> TrainingRun::gradient() const {
  if (options_.accumulate == 1) return trainee_.gradient();
  std::vector<std::span<const float>> spans;
  std::span<const float> rest = sum_;
  for (const auto& values : const_values_) {
    spans.push_back(rest.first(values.size()));
    rest = rest.subspan(values.size());
  }
  return spans;
}

absl::StatusOr<GradientResult> TrainingRun::ComputeGradient(std::span<const size_t> windows,
                                                            int64_t* tokens) {
  GradientResult total;
  const size_t batch_size = static_cast<size_t>(options_.batch_size);
  for (size_t begin = 0; begin < windows.size(); begin += batch_size) {
    std::vector<Sequence> batch;
    for (const size_t window :
         windows.subspan(begin, std::min(batch_size, windows.size() - begin))) {
      for (const size_t index : in_.windows[window]) {
        batch.push_back(in_.train[index]);
        *tokens += static_cast<int64_t>(in_.train[index].tokens.size());
      }
    }
    RETURN_IF_ERROR(Pause());
    ASSIGN_OR_RETURN(const GradientResult part, trainee_.Compute(*engine_, batch, true));
    total.loss_sum += part.loss_sum;
    total.weight_sum += part.weight_sum;
    if (options_.accumulate > 1) Accumulate(part.weight_sum, begin == 0);
  }
  memory_.Sample();
  return total;
}

absl::Status TrainingRun::Step() {
  const absl::Time begin = in_.clock.Now();
  const absl::Duration paused = Paused();
  const BatchSampler::State before = sampler_.state();
  StepRecord record;
  const absl::StatusOr<GradientResult> loss = ComputeGradient(sampler_.Next(), &record.tokens);
  if (absl::IsCancelled(loss.status())) {
    cancelled_ = true;
    sampler_.Restore(before);
    return absl::OkStatus();
  }
  if (absl::IsInternal(loss.status())) {
    RETURN_IF_ERROR(Fail(Message(loss.status())));
    optimizer_.Undo(state_.step, RateOf(state_.step), values_);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(loss.status());
  const auto spans = gradient();
  if (const int bad = FirstNonFinite(spans); bad >= 0) {
    return Fail(
        absl::StrCat("expected a finite gradient, got one that is not in ", parameters_[bad].name));
  }
  const double mean = options_.accumulate > 1 ? 1.0 / loss->weight_sum : 1.0;
  record.gradient_norm = GlobalNorm(spans) * mean;
  const double limit = options_.clip_gradient_norm;
  const double clip =
      limit > 0 && record.gradient_norm > limit ? limit / record.gradient_norm : 1.0;
  ++state_.step;
  record.step = state_.step;
  record.learning_rate = RateOf(state_.step);
  optimizer_.Update(state_.step, record.learning_rate, mean * clip, spans, values_);
  state_.tokens += record.tokens;
  record.loss = loss->loss();
  record.epoch = state_.step / static_cast<double>(sampler_.batches_per_epoch());
  const absl::Duration took = in_.clock.Now() - begin - (Paused() - paused);
  step_time_ += took;
  record.seconds = absl::ToDoubleSeconds(took);
  record.tokens_per_second =
      record.seconds > 0 ? static_cast<double>(record.tokens) / record.seconds : 0;
  record.working_set_bytes = memory_.Now();
  state_.steps.push_back(record);
  return absl::OkStatus();
}

absl::Status TrainingRun::EvaluateNow() {
  const absl::StatusOr<GradientResult> loss =
      EvaluateInGroups(*engine_, trainee_, in_.eval, in_.eval_rows, [this] { return Pause(); });
  if (absl::IsCancelled(loss.status())) {
    cancelled_ = true;
    return absl::OkStatus();
  }
  if (absl::IsInternal(loss.status())) {
    RETURN_IF_ERROR(Fail(Message(loss.status())));
    optimizer_.Undo(state_.step, RateOf(state_.step), values_);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(loss.status());
  const bool first = state_.eval_loss.empty();
  state_.eval_loss.push_back({state_.step, loss->loss()});
  if (first || loss->loss() < state_.best_loss) {
    state_.best_loss = loss->loss();
    if (best_ != nullptr) RETURN_IF_ERROR(best_->Put(const_values_));
    state_.evaluations_without_improvement = 0;
  } else {
    ++state_.evaluations_without_improvement;
  }
  return absl::OkStatus();
}

void TrainingRun::Save() {
  if (options_.checkpoint_dir.empty() || saved_step_ == state_.step) return;
  state_.sampler = sampler_.state();
  const absl::Status status = WriteCheckpoint(options_.checkpoint_dir, identity_, state_,
                                              {.parameters = const_values_,
                                               .first_moments = optimizer_.first_moments(),
                                               .second_moments = optimizer_.second_moments(),
                                               .best = best_.get()});
  memory_.Sample();
  if (status.ok()) {
    saved_step_ = state_.step;
    return;
  }
  failure_ = absl::StrCat("step ", state_.step,
                          ": no checkpoint could be written: ", ToAbsl(Message(status)));
  if (saved_step_ >= 0) absl::StrAppend(&failure_, "; that of step ", saved_step_, " is kept");
  failure_reason_ = "checkpoint";
}

std::string TrainingRun::StopReason() const {
  if (!failure_.empty()) return failure_reason_;
  if (cancelled_) return "cancelled";
  if (state_.step >= total_steps_) return options_.max_steps > 0 ? "steps" : "epochs";
  if (options_.patience > 0 && state_.evaluations_without_improvement >= options_.patience) {
    return "patience";
  }
  if (Working() >= options_.max_duration) return "time";
  if (options_.max_joules > 0 && joules_ >= options_.max_joules) return "energy";
  return "";
}

void TrainingRun::Report(bool begins) {
  if (in_.progress == nullptr) return;
  TrainProgress progress;
  progress.begins = begins;
  progress.step = state_.step;
  progress.total_steps = total_steps_;
  if (!state_.steps.empty()) progress.record = state_.steps.back();
  progress.loss = progress.record.loss;
  if (EvaluatedNow()) progress.eval_loss = state_.eval_loss.back().loss;
  progress.tokens_per_second = TokensPerSecond();
  if (state_.step > first_step_) {
    progress.remaining = Working() / (state_.step - first_step_) * (total_steps_ - state_.step);
  }
  progress.working_set_bytes = memory_.peak();
  progress.predicted_working_set_bytes = in_.predicted_working_set_bytes;
  cancelled_ = !in_.progress(progress);
}

absl::Status TrainingRun::Advance() {
  const int before = state_.step;
  RETURN_IF_ERROR(Step());
  joules_ = Joules();                                  // counters want to be read now and then
  if (state_.step == before) return absl::OkStatus();  // cancelled or failed
  const bool last = state_.step >= total_steps_;
  if (!in_.eval.empty() && (last || state_.step % eval_every_ == 0)) {
    RETURN_IF_ERROR(EvaluateNow());
    if (!failure_.empty()) return absl::OkStatus();
  }
  // Without the evaluation that is due, the checkpoint would not be the one of an unhurried run.
  if (cancelled_) return absl::OkStatus();
  // Told before it is saved: whoever writes down what is reported has every step that a resumed
  // run will not do again.
  Report(/*begins=*/false);
  if (last || state_.step % std::max(1, options_.checkpoint_every) == 0) Save();
  return absl::OkStatus();
}

absl::Status TrainingRun::TakeBest(const std::string& reason) {
  if (best_ != nullptr && best_->filled()) RETURN_IF_ERROR(best_->Get(values_));
  if (reason == "non-finite" && FirstNonFinite(const_values_) >= 0) {
    return absl::InternalError(
        absl::StrCat("training, ", failure_, "; no good parameters are left"));
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainResult> TrainingRun::Finish(std::string reason) {
  finishing_ = true;
  const double tokens_per_second = TokensPerSecond();
  const bool due = !in_.eval.empty() && !EvaluatedNow() && reason != "non-finite";
  const bool unhurried = due && (state_.step % eval_every_ == 0 || state_.step >= total_steps_);
  // What is written is what an unhurried run would have at this step; an evaluation that it would
  // not have made is for the result only.
  if (reason != "non-finite" && reason != "checkpoint" && !unhurried) Save();
  if (due) {
    RETURN_IF_ERROR(EvaluateNow());
    if (failure_.empty() && unhurried) Save();
  }
  if (!failure_.empty()) reason = failure_reason_;
  RETURN_IF_ERROR(TakeBest(reason));
  TrainResult result;
  result.parameters = trainee_.parameter_count();
  result.steps = state_.step;
  result.tokens = state_.tokens;
  for (const StepRecord& record : state_.steps) {
    result.train_loss.push_back({record.step, record.loss});
  }
  result.records = std::move(state_.steps);
  result.eval_loss = std::move(state_.eval_loss);
  result.tokens_per_second = tokens_per_second;
  result.working_set_bytes = memory_.peak();
  result.predicted_working_set_bytes = in_.predicted_working_set_bytes;
  result.seconds = absl::ToDoubleSeconds(in_.clock.Now() - started_);
  result.paused_seconds = absl::ToDoubleSeconds(Paused());
  result.joules = Joules();
  result.stopped_because = std::move(reason);
  result.failure = std::move(failure_);
  return result;
}

absl::StatusOr<TrainResult> TrainingRun::Run(std::unique_ptr<GradientEngine> engine) {
  engine_ = std::move(engine);
  RETURN_IF_ERROR(Begin());
  if (!cancelled_) Report(/*begins=*/true);
  for (;;) {
    std::string reason = StopReason();
    if (!reason.empty()) return Finish(std::move(reason));
    RETURN_IF_ERROR(Advance());
  }
}

}  // namespace lorikeet
