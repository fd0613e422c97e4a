#include "device/personalization/personalizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

struct Judgement {
  std::vector<DocumentLoss> base, persona, personalized, existing;
};

absl::StatusOr<Judgement> Judge(std::shared_ptr<const Model> model, ThreadPool* pool,
                                const std::optional<Adapter>& persona,
                                const PersonalAdapter& personalized,
                                const PersonalAdapter* existing,
                                std::span<const Sequence> documents) {
  ASSIGN_OR_RETURN(const auto meter, LossMeter::Create(std::move(model), pool));
  std::vector<LossCandidate> sides = {{}, {}, {{.adapter = &personalized.adapter()}}};
  if (persona) sides[1].push_back({.adapter = &*persona});
  if (existing != nullptr) sides.push_back({{.adapter = &existing->adapter()}});
  ASSIGN_OR_RETURN(auto losses, meter->Measure(sides, documents));
  Judgement result{
      .base = losses[0], .persona = losses[1], .personalized = losses[2], .existing = {}};
  if (existing != nullptr) result.existing = losses[3];
  return result;
}

absl::StatusOr<TrainResult> TrainResidual(std::shared_ptr<const Model> model, ThreadPool* pool,
                                          const Clock& clock, const Catalog& catalog,
                                          const std::optional<Adapter>& persona,
                                          const TextSplit& split, const PersonalizeOptions& options,
                                          const ProgressCallback& progress) {
  ASSIGN_OR_RETURN(Adapter residual, MakeAdapter(*model, {.kind = AdapterKind::kLora,
                                                          .rank = options.rank,
                                                          .alpha = options.alpha,
                                                          .modules = options.modules,
                                                          .seed = options.train.seed}));
  residual.info.name = "personal";
  residual.info.version = catalog.version;
  residual.info.parent = CatalogHash(catalog);
  residual.info.persona_id = persona ? persona->info.persona_id : "base";
  std::vector<AdapterRef> frozen;
  if (persona) frozen.push_back({.adapter = &*persona});
  return Train(std::move(model), pool, clock, std::move(residual), frozen, split.train,
               split.selection, options.train, progress);
}

// Decides and says why; fills outcome, adapter and verdict.
void Decide(const std::optional<Adapter>& persona, PersonalAdapter personalized, double min_gain,
            PersonalizeResult* result) {
  const double before =
      std::min(result->loss_base, result->loss_existing.value_or(result->loss_base));
  const std::string losses = absl::StrFormat(
      "held-out loss on %d tokens: base %.3f, %s %.3f, personalized %.3f%s", result->judge_tokens,
      result->loss_base, persona ? absl::StrCat("persona ", persona->info.persona_id) : "start",
      result->loss_persona, result->loss_personalized,
      result->loss_existing ? absl::StrFormat(", the adapter in use %.3f", *result->loss_existing)
                            : "");
  if (result->loss_personalized + min_gain < std::min(before, result->loss_persona)) {
    result->outcome = Outcome::kKept;
    result->adapter = std::move(personalized);
    result->verdict = absl::StrFormat("kept: %s; %.1f%% lower than before", losses,
                                      100 * (1 - result->loss_personalized / before));
  } else if (persona && result->loss_persona < before) {
    Adapter nothing;
    nothing.info = personalized.adapter().info;
    result->outcome = Outcome::kPersonaOnly;
    result->adapter = PersonalAdapter::Merge(*persona, nothing);
    result->verdict = absl::StrCat("persona only: training on your text did not help; ", losses);
  } else {
    result->outcome = Outcome::kRolledBack;
    result->verdict =
        absl::StrCat("rolled back: nothing beats ",
                     result->loss_existing ? "what was there" : "the base", "; ", losses);
  }
}

}  // namespace

TrainOptions DefaultPersonalTraining() {
  TrainOptions options;
  // Text of a few kilobytes overfits after 2 to 4 epochs.  3e-3 gains a quarter more on the demo's
  // people and loses on short chats whose persona already fits (persona_chat: +0.05 nats on the
  // persona, where 1e-3 gains 0.01).
  options.epochs = 5;
  options.batch_size = 4;
  options.learning_rate = 1e-3;
  options.warmup_steps = 2;
  options.patience = 2;
  options.precision = TrainPrecision::kFast;
  return options;
}

absl::StatusOr<PersonalizeResult> Personalize(std::shared_ptr<const Model> model, ThreadPool* pool,
                                              const Clock& clock, const Catalog& catalog,
                                              const OwnerText& text,
                                              const PersonalizeOptions& options,
                                              const StageCallback& stage,
                                              const ProgressCallback& progress) {
  const auto begin = [&](std::string_view name) {
    if (stage) stage(name);
  };
  PersonalizeResult result;
  ASSIGN_OR_RETURN(const TextSplit split, SplitText(*model, text, options.split));
  begin("selecting");
  ASSIGN_OR_RETURN(result.selection, Select(model, pool, catalog, split, options.select));
  std::optional<Adapter> persona;
  if (!result.selection.weights.empty()) {
    persona = BlendAdapter(catalog, result.selection.weights, CatalogHash(catalog));
  }
  begin("training");
  ASSIGN_OR_RETURN(result.training,
                   TrainResidual(model, pool, clock, catalog, persona, split, options, progress));
  begin("judging");
  PersonalAdapter personalized =
      PersonalAdapter::Merge(persona.value_or(Adapter{}), result.training.adapter);
  const bool usable =
      options.existing.has_value() && model->CheckAdapter(options.existing->adapter()).ok();
  ASSIGN_OR_RETURN(const Judgement judgement,
                   Judge(model, pool, persona, personalized, usable ? &*options.existing : nullptr,
                         split.judge));
  result.judge_tokens = PredictedTokens(split.judge);
  result.loss_base = MeanLoss(judgement.base);
  result.loss_persona = MeanLoss(judgement.persona);
  result.loss_personalized = MeanLoss(judgement.personalized);
  if (usable) result.loss_existing = MeanLoss(judgement.existing);
  Decide(persona, std::move(personalized), options.min_gain, &result);
  if (options.existing.has_value() && !usable) {
    absl::StrAppend(&result.verdict,
                    "; the adapter in use was made for another base and was not compared");
  }
  return result;
}

}  // namespace lorikeet
