#include "device/trainer/trainee.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

// Views of gradients by the names of the tensors.
ModelGradients ViewsOf(const ModelConfig& config, const std::map<std::string, Matrix>& named) {
  const auto matrix = [&](const std::string& name) {
    const auto found = named.find(name);
    return found == named.end() ? Matrix() : found->second;
  };
  ModelGradients views;
  views.token_embedding = matrix("token_embd.weight");
  views.output = config.tied_output ? views.token_embedding : matrix("output.weight");
  views.output_norm = matrix("output_norm.weight").data;
  views.layers.resize(config.layer_count);
  for (int i = 0; i < config.layer_count; ++i) {
    LayerWeightGradients& layer = views.layers[i];
    for (int m = 0; m < kModuleCount; ++m) {
      layer.weights[m] = matrix(WeightName(i, static_cast<Module>(m)));
    }
    const auto vector = [&](const char* suffix) {
      return matrix(absl::StrCat("blk.", i, ".", suffix)).data;
    };
    layer.attention_norm = vector("attn_norm.weight");
    layer.ffn_norm = vector("ffn_norm.weight");
    layer.bias_q = vector("attn_q.bias");
    layer.bias_k = vector("attn_k.bias");
    layer.bias_v = vector("attn_v.bias");
  }
  return views;
}

}  // namespace

AdapterTrainee::AdapterTrainee(Adapter start, std::span<const AdapterRef> frozen)
    : adapter_(std::move(start)), frozen_(frozen) {
  parameters_ = TrainedParameters(adapter_);
}

absl::StatusOr<GradientResult> AdapterTrainee::Compute(GradientEngine& engine,
                                                       std::span<const Sequence> batch,
                                                       bool wants_gradient) {
  return engine.Compute(adapter_, frozen_, batch, wants_gradient ? &gradients_ : nullptr);
}

std::vector<std::span<const float>> AdapterTrainee::gradient() const {
  return GradientSpans(adapter_.info.kind, gradients_);
}

ModelTrainee::ModelTrainee(const TrainableModel& model) {
  for (const TrainableTensor& tensor : model.tensors()) {
    parameters_.push_back({.name = tensor.name,
                           .rows = tensor.rows,
                           .columns = tensor.columns,
                           .values = tensor.values,
                           .decays = tensor.is_matrix()});
  }
  values_.resize(parameter_count());
  std::map<std::string, Matrix> named;
  float* next = values_.data();
  for (const ParameterSpan& parameter : parameters_) {
    named[parameter.name] = {next, parameter.rows, parameter.columns, parameter.columns};
    next += parameter.values.size();
  }
  gradients_ = ViewsOf(model.model()->config(), named);
}

absl::StatusOr<GradientResult> ModelTrainee::Compute(GradientEngine& engine,
                                                     std::span<const Sequence> batch,
                                                     bool wants_gradient) {
  if (!wants_gradient) return engine.Compute(Adapter(), {}, batch, nullptr);
  std::fill(values_.begin(), values_.end(), 0.0f);
  return engine.ComputeAll(batch, gradients_);
}

std::vector<std::span<const float>> ModelTrainee::gradient() const {
  std::vector<std::span<const float>> spans;
  std::span<const float> rest = values_;
  for (const ParameterSpan& parameter : parameters_) {
    spans.push_back(rest.first(parameter.values.size()));
    rest = rest.subspan(parameter.values.size());
  }
  return spans;
}

}  // namespace lorikeet
