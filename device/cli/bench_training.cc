#include "device/cli/bench_training.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "device/cli/command.h"
#include "device/trainer/adamw.h"
#include "device/trainer/gradient.h"
#include "device/trainer/make_adapter.h"
#include "device/trainer/memory_meter.h"
#include "device/trainer/parameters.h"
#include "device/trainer/train_many.h"
#include "device/trainer/trainer.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// A fresh adapter and what trains it.
class Stepper {
 public:
  // limit_bytes of buffers as in PlanMemory.
  static absl::StatusOr<std::unique_ptr<Stepper>> Create(const Engine& engine,
                                                         const TrainingBenchOptions& bench,
                                                         int64_t limit_bytes) {
    ASSIGN_OR_RETURN(Adapter adapter, MakeAdapter(*engine.model(), AdapterSpec()));
    ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(engine.model(), adapter, {}, bench.tokens,
                                                       bench.precision, limit_bytes));
    auto learner = std::make_unique<Stepper>(std::move(adapter), plan.engine_bytes);
    const GradientEngineOptions options{.precision = bench.precision,
                                        .memory = plan.memory,
                                        .pause_point = [meter = &learner->memory_] {
                                          meter->Sample();
                                          return absl::OkStatus();
                                        }};
    ASSIGN_OR_RETURN(learner->engine_,
                     GradientEngine::Create(engine.model(), engine.pool(), options));
    return learner;
  }
  Stepper(Adapter adapter, int64_t engine_bytes)
      : adapter_(std::move(adapter)),
        engine_bytes_(engine_bytes),
        parameters_(TrainedParameters(adapter_)),
        optimizer_({}, static_cast<size_t>(adapter_.ParameterCount())) {
    for (const ParameterSpan& parameter : parameters_) values_.push_back(parameter.values);
  }

  // One step as training makes it.
  absl::Status Step(const Sequence& sequence) {
    RETURN_IF_ERROR(engine_->Compute(adapter_, {}, {&sequence, 1}, &gradients_).status());
    const auto spans = GradientSpans(adapter_.info.kind, gradients_);
    const TrainOptions defaults;
    const double scale = std::min(1.0, defaults.clip_gradient_norm / GlobalNorm(spans));
    memory_.Now();
    optimizer_.Update(++steps_, defaults.learning_rate, scale, spans, values_);
    return absl::OkStatus();
  }
  absl::Status Loss(const Sequence& sequence) {
    return engine_->Compute(adapter_, {}, {&sequence, 1}, nullptr).status();
  }
  int64_t parameter_count() const { return adapter_.ParameterCount(); }
  int64_t engine_bytes() const { return engine_bytes_; }
  // What training needs besides the model: buffers; parameters, gradient and two moments.
  int64_t predicted_bytes() const {
    return engine_bytes_ + 4 * parameter_count() * static_cast<int64_t>(sizeof(float));
  }
  int64_t peak_bytes() const { return memory_.peak(); }

 private:
  Adapter adapter_;
  int64_t engine_bytes_;
  MemoryMeter memory_;
  std::unique_ptr<GradientEngine> engine_;
  std::vector<ParameterSpan> parameters_;
  std::vector<std::span<float>> values_;
  AdamW optimizer_;
  std::vector<MatrixGradient> gradients_;
  int steps_ = 0;
};

// All that takes turns.
struct Contestants {
  std::unique_ptr<Stepper> recompute, keep;  // null: not wanted
  std::unique_ptr<Session> session;
};

absl::Status MeasureForward(Session& session, const Sequence& sequence, Rates& rates) {
  // The last token of a sequence is only ever a target.
  const std::span<const TokenId> inputs =
      std::span(sequence.tokens).first(sequence.tokens.size() - 1);
  session.Rewind(0);
  ASSIGN_OR_RETURN(const double seconds,
                   SecondsOf([&] { return session.Decode(inputs, true).status(); }));
  rates.Add(static_cast<int>(inputs.size()), seconds);
  return absl::OkStatus();
}

absl::Status MeasureRound(Contestants& contestants, const Sequence& sequence,
                          TrainingRates& rates) {
  for (auto [learner, steps] : {std::pair(contestants.recompute.get(), &rates.recompute),
                                std::pair(contestants.keep.get(), &rates.keep)}) {
    if (learner == nullptr) continue;
    ASSIGN_OR_RETURN(const double seconds, SecondsOf([&] { return learner->Step(sequence); }));
    steps->Add(rates.tokens, seconds);
  }
  Stepper& learner = *(contestants.recompute ? contestants.recompute : contestants.keep);
  ASSIGN_OR_RETURN(const double seconds, SecondsOf([&] { return learner.Loss(sequence); }));
  rates.loss.Add(rates.tokens, seconds);
  return MeasureForward(*contestants.session, sequence, rates.forward);
}

double Share(const Rates& steps, const Rates& forward) { return RatioOf(steps, forward).Median(); }

}  // namespace

absl::StatusOr<TrainingRates> MeasureTraining(const Engine& engine,
                                              const TrainingBenchOptions& options,
                                              ProgressLine& progress) {
  TrainingRates rates;
  rates.tokens = options.tokens;
  if (options.tokens == 0 || !(options.recompute || options.keep)) return rates;
  const Sequence sequence{.tokens = RandomTokens(*engine.model(), options.tokens + 1),
                          .loss_mask = {}};
  constexpr int64_t kLeast = 0, kAll = std::numeric_limits<int64_t>::max();
  Contestants contestants;
  ReturnFreeMemory();
  const int64_t held = MemoryMeter().Now();
  // What needs least memory comes first, alone, so that its working set can be read.
  std::unique_ptr<Stepper>& first = options.recompute ? contestants.recompute : contestants.keep;
  ASSIGN_OR_RETURN(first, Stepper::Create(engine, options, options.recompute ? kLeast : kAll));
  RETURN_IF_ERROR(first->Step(sequence));
  rates.precision = options.precision;
  rates.parameters = first->parameter_count();
  rates.engine_bytes = first->engine_bytes();
  rates.working_set = first->peak_bytes();
  rates.peak_rss = MemoryStatus("VmHWM:");
  rates.predicted_working_set = held + first->predicted_bytes();
  if (options.recompute && options.keep) {
    ASSIGN_OR_RETURN(contestants.keep, Stepper::Create(engine, options, kAll));
  }
  ASSIGN_OR_RETURN(contestants.session, engine.MakeSession(options.tokens));
  for (int i = 0; i <= options.repeat && !StopRequested(); ++i) {
    TrainingRates warm_up;
    warm_up.tokens = options.tokens;
    RETURN_IF_ERROR(MeasureRound(contestants, sequence, i == 0 ? warm_up : rates));
    progress.Update(i, options.repeat, "training");
  }
  return rates;
}

absl::StatusOr<SideBySideRates> MeasureSideBySide(const Engine& engine,
                                                  const TrainingBenchOptions& options, int learners,
                                                  ProgressLine& progress) {
  SideBySideRates rates{.learners = learners, .tokens = options.tokens, .many = {}, .one = {}};
  if (learners == 0 || options.tokens == 0) return rates;
  const Sequence sequence{.tokens = RandomTokens(*engine.model(), options.tokens + 1),
                          .loss_mask = {}};
  const std::vector<Sequence> all(static_cast<size_t>(learners), sequence);
  const SystemClock clock;
  TrainOptions train;
  train.max_steps = 1;
  train.batch_size = 1;
  for (int i = 0; i < options.repeat && !StopRequested(); ++i) {
    ASSIGN_OR_RETURN(const Adapter start, MakeAdapter(*engine.model(), AdapterSpec()));
    const std::vector<Learner> each(all.size(),
                                    {.start = start, .train = {&sequence, 1}, .options = train});
    ASSIGN_OR_RETURN(const auto many, TrainMany(engine.model(), engine.pool(), clock, each,
                                                {.precision = options.precision}));
    for (const auto& result : many) RETURN_IF_ERROR(result.status());
    rates.many.Add(learners * options.tokens, many.front()->records.front().seconds);
    TrainOptions batch = train;
    batch.batch_size = learners;
    batch.precision = options.precision;
    ASSIGN_OR_RETURN(const TrainResult one,
                     Train(engine.model(), engine.pool(), clock, start, {}, all, {}, batch));
    rates.one.Add(learners * options.tokens, one.records.front().seconds);
    progress.Update(i + 1, options.repeat, "side by side");
  }
  return rates;
}

void PrintSideBySide(Output& output, const SideBySideRates& rates) {
  if (rates.one.empty()) return;
  output.Line(absl::StrFormat(
      "         %d adapters side by side, a sequence of %d each: %.1f tokens/s; one adapter on all "
      "of them: %.1f; cost %.2f",
      rates.learners, rates.tokens, rates.many.Median(), rates.one.Median(),
      RatioOf(rates.one, rates.many).Median()));
}

json SideBySideJson(const SideBySideRates& rates) {
  if (rates.one.empty()) return nullptr;
  return {{"learners", rates.learners},
          {"tokens", rates.tokens},
          {"tokens_per_s", rates.many.ToJson()},
          {"one_adapter_tokens_per_s", rates.one.ToJson()},
          {"cost", RatioOf(rates.one, rates.many).ToJson()}};
}

void PrintTraining(Output& output, const TrainingRates& rates) {
  if (rates.forward.empty()) return;
  const auto print = [&](const char* name, const Rates& measured) {
    if (measured.empty()) return;
    output.Line(absl::StrFormat(
        "         %-21s %8.1f tokens/s  (best %.1f)%s", name, measured.Median(), measured.Best(),
        &measured == &rates.forward
            ? ""
            : absl::StrFormat(", %.2f of the forward pass", Share(measured, rates.forward))));
  };
  output.Line(
      absl::StrFormat("train    LoRA of rank 8 on all matrices (%.1f M numbers), batch 1 x "
                      "%d, %s, AdamW included",
                      rates.parameters / 1e6, rates.tokens,
                      rates.precision == TrainPrecision::kFast ? "fast" : "exact"));
  print("layers recomputed", rates.recompute);
  print("activations kept", rates.keep);
  print("loss alone", rates.loss);
  print("forward, all logits", rates.forward);
  output.Line(
      absl::StrFormat("         %.1f MB not shared with the file while training, %.1f MB "
                      "predicted",
                      rates.working_set / 1e6, rates.predicted_working_set / 1e6));
}

json TrainingJson(const TrainingRates& rates) {
  if (rates.forward.empty()) return nullptr;
  const auto median = [](const Rates& r) { return r.empty() ? json() : json(r.Median()); };
  const auto share = [&](const Rates& r) {
    return r.empty() ? json() : json(Share(r, rates.forward));
  };
  return {{"tokens", rates.tokens},
          {"precision", rates.precision == TrainPrecision::kFast ? "fast" : "exact"},
          {"engine_bytes", rates.engine_bytes},
          {"parameters", rates.parameters},
          {"tokens_per_s", rates.steps().Median()},
          {"best_tokens_per_s", rates.steps().Best()},
          {"tokens_per_s_with_recompute", median(rates.recompute)},
          {"tokens_per_s_without_recompute", median(rates.keep)},
          {"forward_tokens_per_s", rates.forward.Median()},
          {"loss_tokens_per_s", rates.loss.Median()},
          {"share_with_recompute", share(rates.recompute)},
          {"share_without_recompute", share(rates.keep)},
          {"working_set", rates.working_set},
          {"peak_rss", rates.peak_rss},
          {"predicted_working_set", rates.predicted_working_set}};
}

}  // namespace lorikeet
