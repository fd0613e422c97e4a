#include "device/runtime/adapter_set.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/tensor_type.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

constexpr Module kAttentionModules[] = {Module::kQ, Module::kK, Module::kV};
constexpr Module kOutputModules[] = {Module::kO};
constexpr Module kFeedForwardModules[] = {Module::kGate, Module::kUp};
constexpr Module kDownModules[] = {Module::kDown};

// The largest magnitude of values[0], values[stride]..., or 1 when all are zero.
float LargestOf(const float* values, int64_t count, int64_t stride) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i * stride]));
  return largest > 0 ? largest : 1.0f;
}

// A is rounded as far as the weights beside it are.
TensorType TypeOfA(const LayerWeights& weights, std::span<const Module> modules, int64_t columns) {
  if (columns % TraitsOf(TensorType::kQ8_0).block_elements != 0) return TensorType::kF16;
  for (const Module module : modules) {
    if (TraitsOf(weights.weight(module).type).block_elements == 1) return TensorType::kF16;
  }
  return TensorType::kQ8_0;
}

}  // namespace

std::span<const Module> ModulesOf(ProductInput input) {
  switch (input) {
    case ProductInput::kAttention:
      return kAttentionModules;
    case ProductInput::kOutput:
      return kOutputModules;
    case ProductInput::kFeedForward:
      return kFeedForwardModules;
    case ProductInput::kDown:
      return kDownModules;
  }
  return {};
}

AdapterSet::AdapterSet(std::shared_ptr<const Model> model, bool exact)
    : model_(std::move(model)), exact_(exact) {
  const size_t layers = model_->config().layer_count;
  exact ? floats_.resize(layers * kModuleCount) : rounded_.resize(layers * kProductInputCount);
}

absl::StatusOr<AdapterHandle> AdapterSet::Add(const AdapterRef& ref) {
  RETURN_IF_ERROR(model_->CheckAdapter(*ref.adapter));
  Active active{.handle = next_handle_++, .ref = ref, .effective_b = {}};
  if (ref.adapter->info.kind == AdapterKind::kCore) {
    for (const AdapterMatrix& matrix : ref.adapter->matrices) {
      active.effective_b.push_back(matrix.EffectiveB());
    }
  }
  active_.push_back(std::move(active));
  factors_changed_ = true;
  return active_.back().handle;
}

absl::StatusOr<size_t> AdapterSet::Find(AdapterHandle handle) const {
  for (size_t i = 0; i < active_.size(); ++i) {
    if (active_[i].handle == handle) return i;
  }
  return absl::NotFoundError(
      absl::StrCat("adapter: expected the handle of an active one, got ", handle));
}

absl::Status AdapterSet::Remove(AdapterHandle handle) {
  ASSIGN_OR_RETURN(const size_t index, Find(handle));
  active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(index));
  factors_changed_ = true;
  return absl::OkStatus();
}

absl::Status AdapterSet::SetScale(AdapterHandle handle, float scale) {
  ASSIGN_OR_RETURN(const size_t index, Find(handle));
  active_[index].ref.scale = scale;
  scales_changed_ = true;
  return absl::OkStatus();
}

void AdapterSet::Clear() {
  active_.clear();
  factors_changed_ = true;
}

std::vector<AdapterRef> AdapterSet::refs() const {
  std::vector<AdapterRef> refs;
  for (const Active& active : active_) refs.push_back(active.ref);
  return refs;
}

std::vector<AdapterSet::Piece> AdapterSet::PiecesOf(int layer, Module module) const {
  const AdapterTarget target{.layer_index = layer, .module = module};
  std::vector<Piece> pieces;
  for (const Active& active : active_) {
    const std::vector<AdapterMatrix>& matrices = active.ref.adapter->matrices;
    const auto found = std::lower_bound(
        matrices.begin(), matrices.end(), target,
        [](const AdapterMatrix& matrix, const AdapterTarget& t) { return matrix.target < t; });
    if (found == matrices.end() || found->target != target) continue;
    const size_t index = found - matrices.begin();
    const bool core = !active.effective_b.empty();
    pieces.push_back({.active = &active,
                      .matrix = &*found,
                      .b = core ? active.effective_b[index].data() : found->b.data()});
  }
  return pieces;
}

void AdapterSet::FillFloats() {
  for (size_t i = 0; i < floats_.size(); ++i) {
    floats_[i].clear();
    const int layer = static_cast<int>(i) / kModuleCount;
    for (const Piece& piece : PiecesOf(layer, static_cast<Module>(i % kModuleCount))) {
      const AdapterMatrix& matrix = *piece.matrix;
      const AdapterRef& ref = piece.active->ref;
      floats_[i].push_back({.a = {matrix.a.data(), matrix.rank, matrix.in_features},
                            .b = {piece.b, matrix.out_features, matrix.rank},
                            .scale = ref.scale * ref.adapter->BaseScale(matrix)});
    }
  }
}

void AdapterSet::AppendRounded(const Piece& piece, const RoundedLowRank::Part& part,
                               uint16_t* halves, RoundedLowRank& group) {
  const AdapterMatrix& matrix = *piece.matrix;
  const int64_t columns = matrix.in_features, ranks = part.end - part.begin;
  std::vector<float> row(columns);
  for (int r = 0; r < matrix.rank; ++r) {
    const int64_t column = static_cast<int64_t>(group.units.size());
    const float* a = matrix.a.data() + r * columns;
    const float a_size = LargestOf(a, columns, 1);
    for (int64_t c = 0; c < columns; ++c) row[c] = a[c] / a_size;
    QuantizeRow(group.a.type, row.data(), columns,
                group.a_bytes.data() + column * group.a.row_bytes);
    const float b_size = LargestOf(piece.b + r, matrix.out_features, matrix.rank);
    for (int64_t o = 0; o < matrix.out_features; ++o) {
      halves[o * ranks + column - part.begin] = FloatToHalf(piece.b[o * matrix.rank + r] / b_size);
    }
    group.units.push_back(a_size * b_size * piece.active->ref.adapter->BaseScale(matrix));
    group.owners.push_back(piece.active->handle);
  }
}

void AdapterSet::FillRounded(int layer, ProductInput input, RoundedLowRank& group) const {
  const LayerWeights& weights = model_->layer(layer);
  const std::span<const Module> modules = ModulesOf(input);
  std::array<std::vector<Piece>, kMaxModulesOfInput> pieces;
  std::array<int64_t, kMaxModulesOfInput> offsets{};  // of each B in b_halves
  group = {};
  int64_t ranks = 0, halves = 0;
  for (size_t m = 0; m < modules.size(); ++m) {
    pieces[m] = PiecesOf(layer, modules[m]);
    group.parts[m].begin = ranks;
    for (const Piece& piece : pieces[m]) ranks += piece.matrix->rank;
    group.parts[m].end = ranks;
    offsets[m] = halves;
    halves += weights.weight(modules[m]).rows * (ranks - group.parts[m].begin);
  }
  if (ranks == 0) return;
  const int64_t columns = weights.weight(modules[0]).cols;
  const TensorType type = TypeOfA(weights, modules, columns);
  const int64_t row_bytes = RowBytes(type, columns);
  group.a_bytes.resize(ranks * row_bytes);
  group.b_halves.resize(halves);
  group.a = {.type = type,
             .data = group.a_bytes.data(),
             .rows = ranks,
             .cols = columns,
             .row_bytes = row_bytes};
  for (size_t m = 0; m < modules.size(); ++m) {
    RoundedLowRank::Part& part = group.parts[m];
    uint16_t* b = group.b_halves.data() + offsets[m];
    part.b = {b, weights.weight(modules[m]).rows, part.end - part.begin};
    for (const Piece& piece : pieces[m]) AppendRounded(piece, part, b, group);
  }
  FillScales(group);
}

void AdapterSet::FillScales(RoundedLowRank& group) const {
  group.scales.resize(group.units.size());
  for (size_t i = 0; i < group.units.size(); ++i) {
    for (const Active& active : active_) {
      if (active.handle == group.owners[i]) group.scales[i] = group.units[i] * active.ref.scale;
    }
  }
}

void AdapterSet::Prepare(ThreadPool* pool) {
  if (!factors_changed_ && !scales_changed_) return;
  if (exact_) {
    FillFloats();
  } else if (factors_changed_) {
    const auto fill = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        FillRounded(static_cast<int>(i / kProductInputCount),
                    static_cast<ProductInput>(i % kProductInputCount), rounded_[i]);
      }
    };
    const auto count = static_cast<int64_t>(rounded_.size());
    pool != nullptr ? pool->ParallelFor(count, 1, fill) : fill(0, count);
  } else {
    for (RoundedLowRank& group : rounded_) FillScales(group);
  }
  factors_changed_ = scales_changed_ = false;
}

std::span<const LowRank> AdapterSet::Floats(int layer, Module module) const {
  return floats_[layer * kModuleCount + static_cast<int>(module)];
}

}  // namespace lorikeet
