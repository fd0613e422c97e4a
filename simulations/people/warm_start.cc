#include "simulations/people/warm_start.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/personal_adapter.h"
#include "device/personalization/residual.h"
#include "simulations/people/statistics.h"

namespace lorikeet {
namespace {

// Text of one trial as the production path sees it.
struct TrialText {
  Blend blend;
  std::vector<Sequence> held_out;
};

// What training starts from.
struct Start {
  Selection selection;
  double cpu = 0;
};

// Times steps, in processor seconds a token; steps with an evaluation are left
// out.
class StepWatch {
 public:
  explicit StepWatch(std::vector<double>* cpu_per_token) : cpu_per_token_(cpu_per_token) {}

  bool operator()(const TrainProgress& progress) {
    if (!progress.begins && !progress.eval_loss) {
      cpu_per_token_->push_back((CpuSecondsNow() - last_) /
                                static_cast<double>(progress.record.tokens));
    }
    last_ = CpuSecondsNow();
    return true;
  }

 private:
  std::vector<double>* cpu_per_token_;
  double last_ = 0;
};

// Loss of what is held out, and the seconds that a token of it took.
struct HeldOutLoss {
  double loss = 0;
  double cpu_per_token = 0;
};

absl::StatusOr<HeldOutLoss> MeasureHeldOut(const Lab& lab, const Adapter* adapter,
                                           std::span<const Sequence> held_out) {
  ASSIGN_OR_RETURN(const auto meter, LossMeter::Create(lab.model, lab.pool.get()));
  const LossCandidate candidate =
      adapter != nullptr ? LossCandidate{{.adapter = adapter}} : LossCandidate{};
  const double before = CpuSecondsNow();
  ASSIGN_OR_RETURN(const auto losses, meter->Measure({&candidate, 1}, held_out));
  const double took = CpuSecondsNow() - before;
  return HeldOutLoss{MeanLoss(losses[0]),
                     took / static_cast<double>(std::max<int64_t>(1, PredictedTokens(held_out)))};
}

// One production training of `steps`, measured.
struct Trained {
  Residual residual;
  CurvePoint point;
};

absl::StatusOr<Trained> TrainFor(const Lab& lab, const Catalog& catalog, const Selection& start,
                                 const TextSplit& split, std::span<const Sequence> held_out,
                                 int steps, const WarmStartOptions& options,
                                 std::vector<double>* cpu_per_token) {
  ResidualOptions recipe = options.personalize;
  recipe.train.max_steps = steps;
  Trained trained;
  const double before = CpuSecondsNow();
  ASSIGN_OR_RETURN(trained.residual,
                   TrainResidual(lab.model, lab.pool.get(), *lab.clock, catalog, start.weights,
                                 split, recipe, StepWatch(cpu_per_token)));
  trained.point.cpu = CpuSecondsNow() - before;
  trained.point.step = trained.residual.training.steps;
  trained.point.tokens = trained.residual.training.tokens;
  const PersonalAdapter merged = PersonalAdapter::Merge(
      trained.residual.persona.value_or(Adapter{}), trained.residual.training.adapter);
  ASSIGN_OR_RETURN(const HeldOutLoss measured, MeasureHeldOut(lab, &merged.adapter(), held_out));
  trained.point.loss = measured.loss;
  return trained;
}

// The point before any step, of a persona whose strength a training has chosen.
absl::StatusOr<CurvePoint> StartPoint(const Lab& lab, const Residual& residual,
                                      const TextSplit& split, std::span<const Sequence> held_out,
                                      int64_t own_tokens) {
  ASSIGN_OR_RETURN(const HeldOutLoss measured,
                   MeasureHeldOut(lab, residual.persona ? &*residual.persona : nullptr, held_out));
  const auto searched = static_cast<int64_t>(residual.persona_search.size()) *
                        (PredictedTokens(split.selection) + own_tokens);
  return CurvePoint{.loss = measured.loss,
                    .cpu = measured.cpu_per_token * static_cast<double>(searched)};
}

// The steps of each budget, ascending, each once.
std::vector<int> Budgets(size_t sequences, const WarmStartOptions& options) {
  const TrainOptions& train = options.personalize.train;
  const int batch = train.batch_size * train.accumulate;
  const int epoch = (static_cast<int>(sequences) + batch - 1) / batch;
  const double all = train.max_steps > 0 ? train.max_steps : std::ceil(train.epochs * epoch);
  std::vector<int> steps;
  for (const double share : options.budgets) {
    const int count = std::max(1, static_cast<int>(std::lround(share * all)));
    if (steps.empty() || steps.back() < count) steps.push_back(count);
  }
  return steps;
}

absl::StatusOr<TrainingCurve> Follow(const Lab& lab, const Catalog& catalog, const Selection& start,
                                     const TextSplit& split, std::span<const Sequence> held_out,
                                     const WarmStartOptions& options) {
  TrainingCurve curve;
  std::vector<double> cpu_per_token;
  for (const int steps : Budgets(split.train.size(), options)) {
    ASSIGN_OR_RETURN(const Trained trained, TrainFor(lab, catalog, start, split, held_out, steps,
                                                     options, &cpu_per_token));
    if (curve.points.empty()) {
      ASSIGN_OR_RETURN(const CurvePoint first, StartPoint(lab, trained.residual, split, held_out,
                                                          options.personalize.own_tokens));
      curve.points.push_back(first);
    }
    curve.points.push_back(trained.point);
  }
  curve.train_cpu_per_token = Median(cpu_per_token);
  return curve;
}

absl::StatusOr<TextSplit> SplitExamples(const Lab& lab, const Blend& blend, size_t examples,
                                        const WarmStartOptions& options) {
  OwnerText text;
  text.documents = AsPrivate(std::span(blend.examples).first(examples));
  text.judge = AsPrivate(std::span(blend.held_out).first(1));  // nothing of the examples judges
  return SplitText(*lab.model, text, options.personalize.split);
}

absl::StatusOr<Start> Choose(const Lab& lab, const Catalog& catalog, const TextSplit& split,
                             const WarmStartOptions& options) {
  Start start;
  const double before = CpuSecondsNow();
  ASSIGN_OR_RETURN(start.selection,
                   Select(lab.model, lab.pool.get(), catalog, split, options.personalize.select));
  start.cpu = CpuSecondsNow() - before;
  return start;
}

// Rungs below all examples.
std::vector<int> Ladder(int examples) {
  std::vector<int> ladder;
  for (const int rung : {1, 2, 3, 5, 7, 10, 14, 20, 28, 40}) {
    if (rung < examples) ladder.push_back(rung);
  }
  return ladder;
}

absl::StatusOr<int> CountExamples(const Lab& lab, const Catalog& catalog, const TrialText& text,
                                  const WarmStartTrial& trial, const WarmStartOptions& options) {
  const double target = BestPoint(trial.scratch.points).loss;
  if (FirstReaching(trial.warm.points, target) == nullptr) return 0;
  const auto reaches = [&](int examples) -> absl::StatusOr<bool> {
    const auto split = SplitExamples(lab, text.blend, static_cast<size_t>(examples), options);
    if (absl::IsInvalidArgument(split.status())) return false;  // too little text for production
    RETURN_IF_ERROR(split.status());
    ASSIGN_OR_RETURN(const Start start, Choose(lab, catalog, *split, options));
    WarmStartOptions whole = options;
    whole.budgets = {1.0};
    ASSIGN_OR_RETURN(const TrainingCurve curve,
                     Follow(lab, catalog, start.selection, *split, text.held_out, whole));
    return FirstReaching(curve.points, target) != nullptr;
  };
  ASSIGN_OR_RETURN(const int rung, SmallestRung(Ladder(options.examples), reaches));
  return rung > 0 ? rung : options.examples;
}

absl::StatusOr<TrialText> DrawText(const Lab& lab, const SelectionTexts& texts, int persona,
                                   double similarity, uint64_t seed,
                                   const WarmStartOptions& options) {
  TrialText text;
  const PersonaText& style = texts.personas[static_cast<size_t>(persona)];
  ASSIGN_OR_RETURN(text.blend, DrawBlend(style.held_out, texts.neutral_owner,
                                         {.similarity = options.blend_personas ? 1.0 : similarity,
                                          .examples = options.examples,
                                          .held_out = options.held_out,
                                          .seed = seed}));
  text.held_out = TokenizeDocuments(*lab.model, AsPrivate(text.blend.held_out),
                                    options.personalize.split.window_tokens);
  return text;
}

absl::StatusOr<WarmStartTrial> RunTrial(const Lab& lab, const Catalog& catalog,
                                        const TrialText& text, const WarmStartOptions& options) {
  ASSIGN_OR_RETURN(const TextSplit split,
                   SplitExamples(lab, text.blend, text.blend.examples.size(), options));
  ASSIGN_OR_RETURN(const Start start, Choose(lab, catalog, split, options));
  WarmStartTrial trial;
  trial.chosen = start.selection.chosen;
  trial.selection_cpu = start.cpu;
  trial.selection_tokens = start.selection.tokens_scored;
  ASSIGN_OR_RETURN(trial.scratch, Follow(lab, catalog, Selection{}, split, text.held_out, options));
  // Without a persona both sides do the very same.
  trial.warm = trial.scratch;
  if (!start.selection.weights.empty()) {
    ASSIGN_OR_RETURN(trial.warm,
                     Follow(lab, catalog, start.selection, split, text.held_out, options));
  }
  if (options.examples_needed) {
    ASSIGN_OR_RETURN(trial.examples_needed, CountExamples(lab, catalog, text, trial, options));
  }
  return trial;
}

// What personas learn from: their seeds, or as many documents blended with
// neutral ones.
absl::StatusOr<std::vector<PersonaSeed>> SeedsOf(const SelectionTexts& texts, double similarity,
                                                 const WarmStartOptions& options) {
  std::vector<PersonaSeed> seeds;
  uint64_t seed = options.seed;
  for (const PersonaText& persona : texts.personas) {
    seeds.push_back({.id = persona.id, .documents = persona.seed});
    if (!options.blend_personas) continue;
    ASSIGN_OR_RETURN(Blend blend, DrawBlend(persona.seed, texts.neutral_seed,
                                            {.similarity = similarity,
                                             .examples = static_cast<int>(persona.seed.size()) - 2,
                                             .held_out = 0,
                                             .seed = seed++}));
    seeds.back().documents = std::move(blend.examples);
  }
  return seeds;
}

}  // namespace

const CurvePoint& BestPoint(const std::vector<CurvePoint>& points) {
  return *std::min_element(points.begin(), points.end(),
                           [](const auto& a, const auto& b) { return a.loss < b.loss; });
}

const CurvePoint* FirstReaching(const std::vector<CurvePoint>& points, double loss) {
  const auto it = std::find_if(points.begin(), points.end(),
                               [&](const CurvePoint& point) { return point.loss <= loss; });
  return it == points.end() ? nullptr : &*it;
}

absl::StatusOr<int> SmallestRung(const std::vector<int>& ladder,
                                 const std::function<absl::StatusOr<bool>(int)>& reaches) {
  size_t low = 0,
         high = ladder.size();  // the answer lies in [low, high]; high = none
  while (low < high) {
    const size_t middle = (low + high) / 2;
    ASSIGN_OR_RETURN(const bool reached, reaches(ladder[middle]));
    if (reached) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low < ladder.size() ? ladder[low] : 0;
}

absl::StatusOr<std::vector<WarmStartTrial>> RunWarmStart(const Lab& lab,
                                                         const SelectionTexts& texts,
                                                         const WarmStartOptions& options,
                                                         const LabProgress& progress) {
  std::vector<WarmStartTrial> trials;
  std::optional<Catalog> catalog;
  const int total = static_cast<int>(options.similarities.size()) * options.trials;
  for (const double similarity : options.similarities) {
    if (!catalog || options.blend_personas) {
      ASSIGN_OR_RETURN(const std::vector<PersonaSeed> seeds, SeedsOf(texts, similarity, options));
      CatalogRecipe recipe = options.catalog;
      if (options.blend_personas) recipe.path.clear();
      ASSIGN_OR_RETURN(catalog, MakeCatalog(lab, seeds, texts.neutral_seed, recipe, progress));
    }
    for (int number = 0; number < options.trials; ++number) {
      const int persona = number % static_cast<int>(texts.personas.size());
      const std::string& id = texts.personas[static_cast<size_t>(persona)].id;
      if (progress != nullptr && !progress(static_cast<int>(trials.size()), total,
                                           absl::StrFormat("%.0f %%: %s", 100 * similarity, id))) {
        return absl::CancelledError("stopped between trials");
      }
      // The same draw at every similarity, so that rows compare like with like.
      SeededRandom random(absl::StrCat("warm start trial ", number), options.seed);
      ASSIGN_OR_RETURN(const TrialText text,
                       DrawText(lab, texts, persona, similarity, random.Uint64(), options));
      ASSIGN_OR_RETURN(WarmStartTrial trial, RunTrial(lab, *catalog, text, options));
      trial.similarity = similarity;
      trial.persona = persona;
      trial.persona_id = id;
      trials.push_back(std::move(trial));
    }
  }
  return trials;
}

}  // namespace lorikeet
