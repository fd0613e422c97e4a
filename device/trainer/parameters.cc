#include "device/trainer/parameters.h"

#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"

namespace lorikeet {

std::vector<ParameterSpan> TrainedParameters(Adapter& adapter) {
  std::vector<ParameterSpan> spans;
  for (AdapterMatrix& matrix : adapter.matrices) {
    const std::string name = WeightName(matrix.target.layer_index, matrix.target.module);
    if (adapter.info.kind == AdapterKind::kCore) {
      spans.push_back({name + ".core", matrix.rank, matrix.rank, matrix.core});
    } else {
      spans.push_back({name + ".lora_a", matrix.rank, matrix.in_features, matrix.a});
      spans.push_back({name + ".lora_b", matrix.out_features, matrix.rank, matrix.b});
    }
  }
  return spans;
}

std::vector<std::span<const float>> GradientSpans(AdapterKind kind,
                                                  const std::vector<MatrixGradient>& gradients) {
  std::vector<std::span<const float>> spans;
  for (const MatrixGradient& gradient : gradients) {
    if (kind == AdapterKind::kCore) {
      spans.emplace_back(gradient.core);
    } else {
      spans.emplace_back(gradient.a);
      spans.emplace_back(gradient.b);
    }
  }
  return spans;
}

size_t CountOf(std::span<const ParameterSpan> parameters) {
  size_t count = 0;
  for (const ParameterSpan& parameter : parameters) count += parameter.values.size();
  return count;
}

int FirstNonFinite(std::span<const std::span<const float>> spans) {
  for (size_t i = 0; i < spans.size(); ++i) {
    const auto finite = [](float value) { return std::isfinite(value); };
    if (!std::all_of(spans[i].begin(), spans[i].end(), finite)) return static_cast<int>(i);
  }
  return -1;
}

std::vector<float> Flatten(std::span<const ParameterSpan> parameters) {
  std::vector<float> flat;
  for (const ParameterSpan& parameter : parameters) {
    flat.insert(flat.end(), parameter.values.begin(), parameter.values.end());
  }
  return flat;
}

void Unflatten(std::span<const float> flat, std::span<const ParameterSpan> parameters) {
  size_t offset = 0;
  for (const ParameterSpan& parameter : parameters) {
    LORIKEET_CHECK(offset + parameter.values.size() <= flat.size());
    std::copy_n(flat.begin() + offset, parameter.values.size(), parameter.values.begin());
    offset += parameter.values.size();
  }
  LORIKEET_CHECK(offset == flat.size());
}

}  // namespace lorikeet
