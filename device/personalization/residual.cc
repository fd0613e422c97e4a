#include "device/personalization/residual.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/status_macros.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/rehearsal.h"

namespace lorikeet {
namespace {

std::vector<PersonaWeight> Scaled(std::span<const PersonaWeight> weights, float scale) {
  std::vector<PersonaWeight> scaled(weights.begin(), weights.end());
  for (PersonaWeight& weight : scaled) weight.weight *= scale;
  return scaled;
}

// Nats a token: less is rounding.
constexpr double kLeastGain = 1e-4;

// What the base writes by itself: to train on, and to measure on.  The seeds differ, so that nobody
// who rehearsed with the usual seed, such as a persona, has seen what measures.
struct OwnText {
  std::vector<Sequence> train, held_out;
};

absl::StatusOr<OwnText> DrawOwnText(const std::shared_ptr<const Model>& model, ThreadPool* pool,
                                    const TextSplit& split, const ResidualOptions& options) {
  const double rehearsed =
      options.rehearsal_share * static_cast<double>(PredictedTokens(split.train));
  OwnText own;
  ASSIGN_OR_RETURN(
      own.train,
      RehearseBase(model, pool, {.tokens = std::llround(rehearsed), .seed = options.train.seed}));
  ASSIGN_OR_RETURN(
      own.held_out,
      RehearseBase(model, pool, {.tokens = options.own_tokens, .seed = ~options.train.seed}));
  return own;
}

// Measures strengths on the selection part and on the base's own text, in one pass.
class StrengthSearch {
 public:
  StrengthSearch(LossMeter* meter, const TextSplit& split, std::span<const Sequence> own)
      : meter_(meter), selection_(split.selection.size()), documents_(split.selection) {
    documents_.insert(documents_.end(), own.begin(), own.end());
  }

  // Strength 0, then `scales`, of `adapter` with the `fixed` ones at full.
  absl::StatusOr<std::vector<ScalePoint>> Measure(const Adapter& adapter,
                                                  std::span<const AdapterRef> fixed,
                                                  std::span<const float> scales) {
    std::vector<ScalePoint> points(1 + scales.size());
    for (size_t i = 0; i < scales.size(); ++i) points[i + 1].scale = scales[i];
    std::vector<LossCandidate> candidates;
    for (const ScalePoint& point : points) {
      LossCandidate& candidate = candidates.emplace_back(fixed.begin(), fixed.end());
      if (point.scale != 0) candidate.push_back({.adapter = &adapter, .scale = point.scale});
    }
    if (!fixed.empty()) candidates.emplace_back();  // the bare base, last
    ASSIGN_OR_RETURN(const auto losses, meter_->Measure(candidates, documents_));
    const double bare = OwnLoss(fixed.empty() ? losses.front() : losses.back());
    for (size_t i = 0; i < points.size(); ++i) {
      points[i].loss = MeanLoss(std::span(losses[i]).first(selection_));
      if (bare > 0) points[i].forgetting = OwnLoss(losses[i]) / bare - 1;
    }
    return points;
  }

 private:
  double OwnLoss(std::span<const DocumentLoss> losses) const {
    return MeanLoss(losses.subspan(selection_));
  }

  LossMeter* meter_;
  size_t selection_;
  std::vector<Sequence> documents_;
};

absl::Status ChoosePersonaScale(StrengthSearch& search, const Catalog& catalog,
                                std::span<const PersonaWeight> weights,
                                const ResidualOptions& options, Residual* result) {
  if (!options.persona_scales.empty()) {
    const Adapter whole = BlendAdapter(catalog, weights);
    ASSIGN_OR_RETURN(result->persona_search, search.Measure(whole, {}, options.persona_scales));
    const ScalePoint chosen = ChooseScale(result->persona_search, options.persona_gain_share,
                                          options.persona_budget_share * options.forgetting_budget);
    result->persona_scale = chosen.scale;
    result->persona_forgetting = chosen.forgetting;
  }
  if (result->persona_scale == 0) return absl::OkStatus();
  result->weights = Scaled(weights, result->persona_scale);
  result->persona = BlendAdapter(catalog, result->weights, CatalogHash(catalog));
  return absl::OkStatus();
}

// In place.  An alpha of 0 would mean something else (adapter.h).
void ScaleAdapter(Adapter* adapter, float scale) {
  if (scale != 0) {
    adapter->info.alpha *= scale;
    return;
  }
  for (AdapterMatrix& matrix : adapter->matrices) std::ranges::fill(matrix.b, 0.0f);
}

absl::Status ChooseResidualScale(StrengthSearch& search, std::span<const AdapterRef> frozen,
                                 const ResidualOptions& options, Residual* result) {
  if (options.residual_scales.empty()) return absl::OkStatus();
  Adapter& residual = result->training.adapter;
  ASSIGN_OR_RETURN(result->residual_search,
                   search.Measure(residual, frozen, options.residual_scales));
  const ScalePoint chosen =
      ChooseScale(result->residual_search, options.residual_gain_share, options.forgetting_budget);
  result->residual_scale = chosen.scale;
  result->forgetting = chosen.forgetting;
  ScaleAdapter(&residual, chosen.scale);
  return absl::OkStatus();
}

}  // namespace

TrainOptions DefaultPersonalTraining() {
  TrainOptions options;
  // At full strength this overfits; the line search undoes that.
  options.epochs = 3;
  options.batch_size = 4;
  options.learning_rate = 3e-3;
  options.warmup_steps = 2;
  options.keep_best = false;
  options.precision = TrainPrecision::kFast;
  return options;
}

ScalePoint ChooseScale(std::span<const ScalePoint> points, double share, double budget) {
  LORIKEET_CHECK(!points.empty());
  const double none = points.front().loss;
  double best = none;
  for (const ScalePoint& point : points) {
    if (point.forgetting <= budget) best = std::min(best, point.loss);
  }
  if (none - best < kLeastGain) return points.front();
  for (const ScalePoint& point : points) {
    if (point.forgetting <= budget && point.loss <= none - share * (none - best)) return point;
  }
  return points.front();
}

absl::StatusOr<Residual> TrainResidual(std::shared_ptr<const Model> model, ThreadPool* pool,
                                       const Clock& clock, const Catalog& catalog,
                                       std::span<const PersonaWeight> weights,
                                       const TextSplit& split, const ResidualOptions& options,
                                       const ProgressCallback& progress) {
  Residual result;
  ASSIGN_OR_RETURN(const auto meter,
                   LossMeter::Create(model, pool, {.precision = options.train.precision}));
  ASSIGN_OR_RETURN(const OwnText own, DrawOwnText(model, pool, split, options));
  StrengthSearch search(meter.get(), split, own.held_out);
  if (!weights.empty()) {
    RETURN_IF_ERROR(ChoosePersonaScale(search, catalog, weights, options, &result));
  }
  ASSIGN_OR_RETURN(Adapter residual, MakeAdapter(*model, {.kind = AdapterKind::kLora,
                                                          .rank = options.rank,
                                                          .alpha = options.alpha,
                                                          .modules = options.modules,
                                                          .seed = options.train.seed}));
  residual.info.name = "personal";
  residual.info.version = catalog.version;
  residual.info.parent = CatalogHash(catalog);
  residual.info.persona_id = result.persona ? result.persona->info.persona_id : "base";
  std::vector<AdapterRef> frozen;
  if (result.persona) frozen.push_back({.adapter = &*result.persona});
  std::vector<Sequence> text = split.train;
  text.insert(text.end(), own.train.begin(), own.train.end());
  ASSIGN_OR_RETURN(result.training, Train(model, pool, clock, std::move(residual), frozen, text,
                                          split.selection, options.train, progress));
  RETURN_IF_ERROR(ChooseResidualScale(search, frozen, options, &result));
  return result;
}

}  // namespace lorikeet
