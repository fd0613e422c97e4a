#include "device/personalization/core_update.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {

absl::StatusOr<CoreDelta> LocalCoreUpdate(std::shared_ptr<const Model> model, ThreadPool* pool,
                                          const Clock& clock, const Catalog& catalog,
                                          int persona_index, std::span<const PrivateText> documents,
                                          const CoreUpdateOptions& options,
                                          const ProgressCallback& progress) {
  if (persona_index < 0 || persona_index >= static_cast<int>(catalog.personas.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "persona index: expected 0 to ", catalog.personas.size(), " - 1, got ", persona_index));
  }
  const Adapter start = PersonaAdapter(catalog, persona_index);
  RETURN_IF_ERROR(model->CheckAdapter(start));
  const std::vector<Sequence> sequences =
      TokenizeDocuments(*model, documents, options.window_tokens);
  if (sequences.empty()) {
    return absl::InvalidArgumentError("core update: expected at least two tokens of text");
  }
  TrainOptions train;
  train.precision = TrainPrecision::kFast;
  train.max_steps = options.steps;
  train.batch_size = options.batch_size;
  train.learning_rate = options.learning_rate;
  train.schedule = Schedule::kConstant;
  train.seed = options.seed;
  ASSIGN_OR_RETURN(const TrainResult result,
                   Train(model, pool, clock, start, {}, sequences, {}, train, progress));

  const std::array<AdapterRef, 1> before = {{{.adapter = &start}}};
  const std::array<AdapterRef, 1> after = {{{.adapter = &result.adapter}}};
  ASSIGN_OR_RETURN(const GradientResult loss_before, EvaluateLoss(model, pool, before, sequences));
  ASSIGN_OR_RETURN(const GradientResult loss_after, EvaluateLoss(model, pool, after, sequences));
  CoreDelta delta;
  delta.loss_before = loss_before.loss();
  delta.loss_after = loss_after.loss();
  delta.tokens = result.tokens;
  delta.steps = result.steps;
  for (size_t i = 0; i < start.matrices.size(); ++i) {
    const std::vector<float>& from = start.matrices[i].core;
    const std::vector<float>& to = result.adapter.matrices[i].core;
    for (size_t j = 0; j < from.size(); ++j) delta.values.push_back(to[j] - from[j]);
  }
  return delta;
}

}  // namespace lorikeet
