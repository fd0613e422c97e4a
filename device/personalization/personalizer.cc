#include "device/personalization/personalizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// All sides on the judge's part of the text, through one pass.  Null: there is none.
absl::StatusOr<std::vector<JudgedSide>> MeasureSides(std::shared_ptr<const Model> model,
                                                     ThreadPool* pool, const Adapter* persona,
                                                     const PersonalAdapter& personalized,
                                                     const PersonalAdapter* in_use,
                                                     std::span<const Sequence> documents) {
  std::vector<JudgedSide> sides;
  std::vector<LossCandidate> candidates;
  const auto add = [&](std::string_view name, const Adapter* adapter) {
    sides.push_back({.name = std::string(name), .losses = {}});
    LossCandidate& candidate = candidates.emplace_back();
    if (adapter != nullptr) candidate.push_back({.adapter = adapter});
  };
  add(kBaseSide, nullptr);
  if (persona != nullptr) add(kPersonaSide, persona);
  add(kPersonalizedSide, &personalized.adapter());
  if (in_use != nullptr) add(kInUseSide, &in_use->adapter());
  ASSIGN_OR_RETURN(const auto meter, LossMeter::Create(std::move(model), pool));
  ASSIGN_OR_RETURN(auto losses, meter->Measure(candidates, documents));
  for (size_t i = 0; i < sides.size(); ++i) sides[i].losses = std::move(losses[i]);
  return sides;
}

// What the verdict leaves: `adapter` of the result.
void KeepBest(const std::optional<Adapter>& persona, PersonalAdapter personalized,
              PersonalizeResult* result) {
  result->outcome = result->judgement.outcome;
  if (result->outcome == Outcome::kKept) {
    result->adapter = std::move(personalized);
  } else if (result->outcome == Outcome::kPersonaOnly) {
    Adapter nothing;
    nothing.info = personalized.adapter().info;
    result->adapter = PersonalAdapter::Merge(*persona, nothing);
  }
}

// "; what the plain model writes by itself is predicted 1.2% worse"; empty where nothing is lost.
std::string ForgettingWords(double forgetting) {
  if (forgetting < 0.0005) return "";
  return absl::StrFormat("; what the plain model writes by itself is predicted %.1f%% worse",
                         100 * forgetting);
}

void SetLosses(PersonalizeResult* result) {
  const auto loss_of = [&](std::string_view name) {
    const JudgedSide* side = FindSide(result->sides, name);
    return side == nullptr ? std::nullopt : std::optional<double>(MeanLoss(side->losses));
  };
  result->loss_base = loss_of(kBaseSide).value_or(0);
  result->loss_persona = loss_of(kPersonaSide).value_or(result->loss_base);
  result->loss_personalized = loss_of(kPersonalizedSide).value_or(0);
  result->loss_existing = loss_of(kInUseSide);
  result->judge_tokens = result->judgement.tokens;
}

}  // namespace

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
  result.notice = split.notice;
  begin("selecting");
  ASSIGN_OR_RETURN(result.selection, Select(model, pool, catalog, split, options.select));
  begin("training");
  ASSIGN_OR_RETURN(Residual residual,
                   TrainResidual(model, pool, clock, catalog, result.selection.weights, split,
                                 options, progress));
  result.persona_scale = residual.persona_scale;
  result.residual_scale = residual.residual_scale;
  result.training = std::move(residual.training);
  begin("judging");
  PersonalAdapter personalized =
      PersonalAdapter::Merge(residual.persona.value_or(Adapter{}), result.training.adapter);
  const bool usable =
      options.existing.has_value() && model->CheckAdapter(options.existing->adapter()).ok();
  ASSIGN_OR_RETURN(result.sides,
                   MeasureSides(model, pool, residual.persona ? &*residual.persona : nullptr,
                                personalized, usable ? &*options.existing : nullptr, split.judge));
  result.judgement = Judge(result.sides, options.judge);
  SetLosses(&result);
  result.verdict = result.judgement.words;
  if (options.existing.has_value() && !usable) {
    absl::StrAppend(&result.verdict,
                    "; the adapter in use was made for another base and was not compared");
  }
  KeepBest(residual.persona, std::move(personalized), &result);
  if (result.outcome == Outcome::kKept) result.forgetting = residual.forgetting;
  if (result.outcome == Outcome::kPersonaOnly) result.forgetting = residual.persona_forgetting;
  absl::StrAppend(&result.verdict, ForgettingWords(result.forgetting));
  return result;
}

}  // namespace lorikeet
