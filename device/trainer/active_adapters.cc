#include "device/trainer/active_adapters.h"

#include <algorithm>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

void SizeGradient(const AdapterMatrix& matrix, AdapterKind kind, MatrixGradient& gradient) {
  const bool core = kind == AdapterKind::kCore;
  gradient.a.assign(core ? 0 : matrix.a.size(), 0.0f);
  gradient.b.assign(core ? 0 : matrix.b.size(), 0.0f);
  gradient.core.assign(core ? matrix.core.size() : 0, 0.0f);
}

}  // namespace

void ActiveAdapters::AddMatrix(const AdapterMatrix& matrix, float scale, ActiveMatrix active) {
  const auto rank = static_cast<size_t>(matrix.rank);
  LORIKEET_CHECK(matrix.a.size() == rank * matrix.in_features);
  LORIKEET_CHECK(matrix.b.size() == rank * matrix.out_features);
  LORIKEET_CHECK(active.core.data == nullptr || matrix.core.size() == rank * rank);
  active.a = {matrix.a.data(), matrix.rank, matrix.in_features};
  active.scale = scale;
  layers[matrix.target.layer_index][static_cast<int>(matrix.target.module)].push_back(active);
}

absl::Status ActiveAdapters::Add(const Model& model, const LearnerBatch& learner, int64_t begin,
                                 int64_t end) {
  const Adapter none;
  const Adapter& trained = learner.trained != nullptr ? *learner.trained : none;
  if (!trained.matrices.empty()) RETURN_IF_ERROR(model.CheckAdapter(trained));
  if (learner.gradients != nullptr) learner.gradients->resize(trained.matrices.size());
  for (size_t i = 0; i < trained.matrices.size(); ++i) {
    const AdapterMatrix& matrix = trained.matrices[i];
    ActiveMatrix active{.begin = begin, .end = end};
    active.b = {matrix.b.data(), matrix.out_features, matrix.rank};
    if (trained.info.kind == AdapterKind::kCore) {
      active.core = {matrix.core.data(), matrix.rank, matrix.rank};
    }
    if (learner.gradients != nullptr) {
      SizeGradient(matrix, trained.info.kind, (*learner.gradients)[i]);
      active.gradient = &(*learner.gradients)[i];
      lowest_trained_layer = std::min(lowest_trained_layer, matrix.target.layer_index);
    }
    AddMatrix(matrix, trained.BaseScale(matrix), active);
  }
  for (const AdapterRef& ref : learner.frozen) {
    RETURN_IF_ERROR(model.CheckAdapter(*ref.adapter));
    for (const AdapterMatrix& matrix : ref.adapter->matrices) {
      ActiveMatrix active{.begin = begin, .end = end};
      active.b = {matrix.b.data(), matrix.out_features, matrix.rank};
      if (ref.adapter->info.kind == AdapterKind::kCore) {
        owned_factors.push_back(matrix.EffectiveB());
        active.b.data = owned_factors.back().data();
      }
      AddMatrix(matrix, ref.scale * ref.adapter->BaseScale(matrix), active);
    }
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
