#include "device/personalization/residual.h"

#include <algorithm>
#include <cmath>
#include <iterator>
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

// The loss with each strength of `adapter`, with the `fixed` ones at full.
absl::StatusOr<std::vector<ScalePoint>> Search(LossMeter& meter, const Adapter& adapter,
                                               std::span<const AdapterRef> fixed,
                                               std::span<const float> scales,
                                               std::span<const Sequence> documents) {
  std::vector<LossCandidate> candidates;
  for (const float scale : scales) {
    LossCandidate& candidate = candidates.emplace_back(fixed.begin(), fixed.end());
    candidate.push_back({.adapter = &adapter, .scale = scale});
  }
  ASSIGN_OR_RETURN(const auto losses, meter.Measure(candidates, documents));
  std::vector<ScalePoint> points;
  for (size_t i = 0; i < scales.size(); ++i) points.push_back({scales[i], MeanLoss(losses[i])});
  return points;
}

// The least strength whose loss is within `slack` of the best.
float LeastGoodScale(std::span<const ScalePoint> points, double slack) {
  const double best = std::ranges::min(points, {}, &ScalePoint::loss).loss;
  float least = INFINITY;
  for (const ScalePoint& point : points) {
    if (point.loss <= best + slack) least = std::min(least, point.scale);
  }
  return least;
}

absl::Status ChoosePersonaScale(LossMeter& meter, const Catalog& catalog,
                                std::span<const PersonaWeight> weights, const TextSplit& split,
                                const ResidualOptions& options, Residual* result) {
  if (!options.persona_scales.empty()) {
    const Adapter whole = BlendAdapter(catalog, weights);
    ASSIGN_OR_RETURN(result->persona_search,
                     Search(meter, whole, {}, options.persona_scales, split.selection));
    result->persona_scale = LeastGoodScale(result->persona_search, options.persona_slack);
  }
  result->weights = Scaled(weights, result->persona_scale);
  result->persona = BlendAdapter(catalog, result->weights, CatalogHash(catalog));
  return absl::OkStatus();
}

absl::Status ChooseResidualScale(LossMeter& meter, std::span<const AdapterRef> frozen,
                                 const TextSplit& split, const ResidualOptions& options,
                                 Residual* result) {
  if (options.residual_scales.empty()) return absl::OkStatus();
  Adapter& residual = result->training.adapter;
  ASSIGN_OR_RETURN(result->residual_search,
                   Search(meter, residual, frozen, options.residual_scales, split.selection));
  result->residual_scale = LeastGoodScale(result->residual_search, 0);
  residual.info.alpha *= result->residual_scale;
  return absl::OkStatus();
}

// The owner's documents and some of the base's own.
absl::StatusOr<std::vector<Sequence>> TrainingText(const std::shared_ptr<const Model>& model,
                                                   ThreadPool* pool, const TextSplit& split,
                                                   const ResidualOptions& options) {
  std::vector<Sequence> text = split.train;
  const double tokens = options.rehearsal_share * static_cast<double>(PredictedTokens(split.train));
  ASSIGN_OR_RETURN(
      std::vector<Sequence> rehearsed,
      RehearseBase(model, pool, {.tokens = std::llround(tokens), .seed = options.train.seed}));
  std::ranges::move(rehearsed, std::back_inserter(text));
  return text;
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

absl::StatusOr<Residual> TrainResidual(std::shared_ptr<const Model> model, ThreadPool* pool,
                                       const Clock& clock, const Catalog& catalog,
                                       std::span<const PersonaWeight> weights,
                                       const TextSplit& split, const ResidualOptions& options,
                                       const ProgressCallback& progress) {
  Residual result;
  ASSIGN_OR_RETURN(const auto meter,
                   LossMeter::Create(model, pool, {.precision = options.train.precision}));
  if (!weights.empty()) {
    RETURN_IF_ERROR(ChoosePersonaScale(*meter, catalog, weights, split, options, &result));
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
  ASSIGN_OR_RETURN(const std::vector<Sequence> text, TrainingText(model, pool, split, options));
  ASSIGN_OR_RETURN(result.training, Train(model, pool, clock, std::move(residual), frozen, text,
                                          split.selection, options.train, progress));
  RETURN_IF_ERROR(ChooseResidualScale(*meter, frozen, split, options, &result));
  return result;
}

}  // namespace lorikeet
