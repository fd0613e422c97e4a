#include "device/trainer/gradient.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/trainer/batch_layout.h"
#include "device/trainer/layer_pass.h"
#include "kernels/matmul.h"
#include "kernels/quant.h"
#include "kernels/rmsnorm.h"
#include "kernels/softmax_xent.h"

namespace lorikeet {
namespace {

// Logits are made for as many rows at a time as fit here, but for no fewer than kMinLogitRows: with
// fewer, unpacking the output weights would cost more than multiplying by them.
constexpr int64_t kLogitFloats = int64_t{1} << 20;
constexpr int64_t kMinLogitRows = 32;

// Adapters of a call, by layer, with the factors that have to be made for it.
struct ActiveAdapters {
  std::vector<LayerAdapters> layers;
  std::vector<std::vector<float>> owned_factors;  // B R of frozen cores
  int lowest_trained_layer = 0;                   // layer_count: nothing is trained
};

// Of a row in LayerActivations, without the hidden states of adapters.
int64_t ActivationFloats(const ModelConfig& config) {
  const int64_t attention = int64_t{config.head_count} * config.head_size * 2 +
                            int64_t{config.kv_head_count} * config.head_size * 2 +
                            config.head_count;
  return int64_t{config.embedding_length} * 3 + attention + int64_t{config.feed_forward_length} * 3;
}

int64_t LogitRows(const ModelConfig& config) {
  return std::max(kMinLogitRows, kLogitFloats / config.vocabulary_size);
}

bool IsFinite(ConstMatrix x) {
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* row = x.row(t);
    if (!std::all_of(row, row + x.cols, [](float value) { return std::isfinite(value); })) {
      return false;
    }
  }
  return true;
}

class Engine final : public GradientEngine {
 public:
  Engine(std::shared_ptr<const Model> model, ThreadPool* pool, const GradientEngineOptions& options)
      : model_(std::move(model)), pool_(pool), options_(options), pass_(*model_, pool) {}

  absl::StatusOr<GradientResult> Compute(const Adapter& trained, std::span<const AdapterRef> frozen,
                                         std::span<const Sequence> batch,
                                         std::vector<MatrixGradient>* gradients) override;
  int64_t working_set_bytes() const override;

 private:
  absl::StatusOr<ActiveAdapters> Activate(const Adapter& trained,
                                          std::span<const AdapterRef> frozen,
                                          std::vector<MatrixGradient>* gradients) const;
  void Embed(const BatchLayout& layout, Matrix x);
  void ForwardLayers(const BatchLayout& layout, const ActiveAdapters& adapters, bool keep);
  double Loss(const BatchLayout& layout, Matrix d_x);
  void BackwardLayers(const ActiveAdapters& adapters, Matrix d_x);
  std::string FirstNonFinite(const BatchLayout& layout) const;

  int64_t KeptLayers(const ActiveAdapters& adapters, int64_t rows) const;
  LayerActivations& ActivationsOf(int layer);
  // Input of a layer; of layer_count: what the last one puts out.
  ConstMatrix LayerInput(int layer) const { return layer_inputs_[layer]; }

  std::shared_ptr<const Model> model_;
  ThreadPool* pool_;
  GradientEngineOptions options_;
  LayerPass pass_;
  std::vector<Buffer> inputs_;
  std::vector<ConstMatrix> layer_inputs_;  // of the current batch; views into inputs_
  LayerActivations shared_;                // of the layer at hand
  std::vector<LayerActivations> kept_;     // of the layers from first_kept_ on
  int first_kept_ = 0;
  Buffer d_x_, scored_, scored_normed_, d_scored_, d_scored_normed_, logits_;
  std::vector<float> nll_;
};

void ActivateMatrix(const AdapterMatrix& matrix, float scale, ActiveMatrix active,
                    ActiveAdapters& adapters) {
  const auto rank = static_cast<size_t>(matrix.rank);
  LORIKEET_CHECK(matrix.a.size() == rank * matrix.in_features);
  LORIKEET_CHECK(matrix.b.size() == rank * matrix.out_features);
  LORIKEET_CHECK(active.core.data == nullptr || matrix.core.size() == rank * rank);
  active.a = {matrix.a.data(), matrix.rank, matrix.in_features};
  active.scale = scale;
  adapters.layers[matrix.target.layer_index][static_cast<int>(matrix.target.module)].push_back(
      active);
}

void SizeGradient(const AdapterMatrix& matrix, AdapterKind kind, MatrixGradient& gradient) {
  const bool core = kind == AdapterKind::kCore;
  gradient.a.assign(core ? 0 : matrix.a.size(), 0.0f);
  gradient.b.assign(core ? 0 : matrix.b.size(), 0.0f);
  gradient.core.assign(core ? matrix.core.size() : 0, 0.0f);
}

absl::StatusOr<ActiveAdapters> Engine::Activate(const Adapter& trained,
                                                std::span<const AdapterRef> frozen,
                                                std::vector<MatrixGradient>* gradients) const {
  ActiveAdapters adapters;
  const int layer_count = model_->config().layer_count;
  adapters.layers.resize(layer_count);
  adapters.lowest_trained_layer = layer_count;
  if (!trained.matrices.empty()) RETURN_IF_ERROR(model_->CheckAdapter(trained));
  if (gradients != nullptr) gradients->resize(trained.matrices.size());
  for (size_t i = 0; i < trained.matrices.size(); ++i) {
    const AdapterMatrix& matrix = trained.matrices[i];
    ActiveMatrix active;
    active.b = {matrix.b.data(), matrix.out_features, matrix.rank};
    if (trained.info.kind == AdapterKind::kCore) {
      active.core = {matrix.core.data(), matrix.rank, matrix.rank};
    }
    if (gradients != nullptr) {
      SizeGradient(matrix, trained.info.kind, (*gradients)[i]);
      active.gradient = &(*gradients)[i];
    }
    adapters.lowest_trained_layer =
        std::min(adapters.lowest_trained_layer, matrix.target.layer_index);
    ActivateMatrix(matrix, trained.BaseScale(matrix), active, adapters);
  }
  for (const AdapterRef& ref : frozen) {
    RETURN_IF_ERROR(model_->CheckAdapter(*ref.adapter));
    for (const AdapterMatrix& matrix : ref.adapter->matrices) {
      ActiveMatrix active;
      active.b = {matrix.b.data(), matrix.out_features, matrix.rank};
      if (ref.adapter->info.kind == AdapterKind::kCore) {
        adapters.owned_factors.push_back(matrix.EffectiveB());
        active.b.data = adapters.owned_factors.back().data();
      }
      ActivateMatrix(matrix, ref.scale * ref.adapter->BaseScale(matrix), active, adapters);
    }
  }
  return adapters;
}

void Engine::Embed(const BatchLayout& layout, Matrix x) {
  const WeightView& table = model_->token_embedding();
  for (int64_t t = 0; t < x.rows; ++t) {
    DequantizeRow(table.type, table.row(layout.inputs[t]), table.cols, x.row(t));
  }
}

// How many of the last layers may keep their activations within the budget.
int64_t Engine::KeptLayers(const ActiveAdapters& adapters, int64_t rows) const {
  int64_t largest_hidden = 0;
  for (const LayerAdapters& layer : adapters.layers) {
    int64_t hidden = 0;
    for (const auto& active : layer) {
      for (const ActiveMatrix& matrix : active) hidden += matrix.a.rows;
    }
    largest_hidden = std::max(largest_hidden, hidden);
  }
  const int64_t layer_bytes = (ActivationFloats(model_->config()) + largest_hidden) * rows *
                              static_cast<int64_t>(sizeof(float));
  return std::clamp<int64_t>(options_.kept_activation_bytes / layer_bytes, 0,
                             model_->config().layer_count);
}

LayerActivations& Engine::ActivationsOf(int layer) {
  return layer >= first_kept_ ? kept_[layer - first_kept_] : shared_;
}

void Engine::ForwardLayers(const BatchLayout& layout, const ActiveAdapters& adapters, bool keep) {
  const int layer_count = model_->config().layer_count;
  const int64_t width = model_->config().embedding_length;
  inputs_.resize(layer_count + 1);
  layer_inputs_.assign(layer_count + 1, {});
  first_kept_ = layer_count - (keep ? static_cast<int>(KeptLayers(adapters, layout.rows())) : 0);
  first_kept_ = std::max(first_kept_, std::min(adapters.lowest_trained_layer, layer_count));
  if (kept_.size() < static_cast<size_t>(layer_count - first_kept_)) {
    kept_.resize(layer_count - first_kept_);
  }
  pass_.Begin(layout);
  Matrix x = inputs_[0].Shape(layout.rows(), width);
  Embed(layout, x);
  for (int layer = 0; layer < layer_count; ++layer) {
    layer_inputs_[layer] = x;
    // Layers below the lowest trained one are not gone through again: their input need not last.
    const bool checkpoint = keep && layer >= adapters.lowest_trained_layer;
    const Matrix out = checkpoint ? inputs_[layer + 1].Shape(layout.rows(), width) : x;
    pass_.Forward(layer, adapters.layers[layer], x, ActivationsOf(layer), out);
    x = out;
  }
  layer_inputs_[layer_count] = x;
}

// The loss summed over the scored rows, weighted; with d_x.data also d (loss / weight_sum) / d
// (last layer's output).
double Engine::Loss(const BatchLayout& layout, Matrix d_x) {
  const ModelConfig& config = model_->config();
  const ConstMatrix x = LayerInput(config.layer_count);
  const bool backward = d_x.data != nullptr;
  const int64_t count = layout.scored();
  const Matrix scored = scored_.Shape(count, x.cols);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(x.row(layout.scored_rows[i]), x.cols, scored.row(i));
  }
  const Matrix normed = scored_normed_.Shape(count, x.cols);
  RmsNorm(scored, model_->output_norm(), config.rms_epsilon, normed, pool_);
  const Matrix d_normed = backward ? d_scored_normed_.Zeros(count, x.cols) : Matrix();

  nll_.resize(count);
  std::vector<float> weights(count);
  for (int64_t i = 0; i < count; ++i) {
    weights[i] = static_cast<float>(layout.weights[i] / layout.weight_sum);
  }
  const int64_t chunk = LogitRows(config);
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const int64_t end = std::min(count, begin + chunk);
    const Matrix logits = logits_.Shape(end - begin, config.vocabulary_size);
    MatMul(normed.Rows(begin, end), model_->output(), logits, pool_);
    const int32_t* targets = layout.targets.data() + begin;
    if (!backward) {
      CrossEntropy(logits, targets, nll_.data() + begin, pool_);
      continue;
    }
    CrossEntropyBackward(logits, targets, weights.data() + begin, nll_.data() + begin, pool_);
    MatMulBackwardInput(logits, model_->output(), d_normed.Rows(begin, end), pool_);
  }
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(layout.weights[i]) * nll_[i];
  if (!backward) return sum;

  const Matrix d_scored = d_scored_.Zeros(count, x.cols);
  RmsNormBackward(scored, model_->output_norm(), config.rms_epsilon, d_normed, d_scored, pool_);
  std::fill_n(d_x.data, d_x.rows * d_x.cols, 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(d_scored.row(i), x.cols, d_x.row(layout.scored_rows[i]));
  }
  return sum;
}

void Engine::BackwardLayers(const ActiveAdapters& adapters, Matrix d_x) {
  for (int layer = model_->config().layer_count - 1; layer >= adapters.lowest_trained_layer;
       --layer) {
    const LayerAdapters& here = adapters.layers[layer];
    LayerActivations& activations = ActivationsOf(layer);
    if (activations.layer_index != layer) {
      pass_.Forward(layer, here, LayerInput(layer), activations, Matrix());
    }
    BackwardReach reach = BackwardReach::kInput;
    if (layer == adapters.lowest_trained_layer) {
      const auto trains = [&here](Module module) {
        const auto& active = here[static_cast<int>(module)];
        return std::any_of(active.begin(), active.end(),
                           [](const ActiveMatrix& matrix) { return matrix.gradient != nullptr; });
      };
      reach = trains(Module::kQ) || trains(Module::kK) || trains(Module::kV) || trains(Module::kO)
                  ? BackwardReach::kAttention
                  : BackwardReach::kFeedForward;
    }
    pass_.Backward(layer, here, LayerInput(layer), activations, reach, d_x);
  }
}

std::string Engine::FirstNonFinite(const BatchLayout& layout) const {
  const int layer_count = model_->config().layer_count;
  for (int layer = 0; layer <= layer_count; ++layer) {
    const ConstMatrix x = layer_inputs_[layer];
    // Without a backward pass, layers overwrite their input: only the last output is left to look
    // at.
    const bool overwritten = layer < layer_count && x.data == layer_inputs_[layer + 1].data;
    if (!overwritten && !IsFinite(x)) {
      return layer == 0 ? "the token embedding" : absl::StrCat("the output of blk.", layer - 1);
    }
  }
  const auto bad = std::find_if(nll_.begin(), nll_.begin() + layout.scored(),
                                [](float value) { return !std::isfinite(value); });
  return absl::StrCat("the token loss (row ", bad - nll_.begin(), ")");
}

absl::StatusOr<GradientResult> Engine::Compute(const Adapter& trained,
                                               std::span<const AdapterRef> frozen,
                                               std::span<const Sequence> batch,
                                               std::vector<MatrixGradient>* gradients) {
  ASSIGN_OR_RETURN(const BatchLayout layout, LayOutBatch(batch, model_->config().vocabulary_size));
  ASSIGN_OR_RETURN(const ActiveAdapters adapters, Activate(trained, frozen, gradients));
  const bool backward = gradients != nullptr && !trained.matrices.empty();
  ForwardLayers(layout, adapters, backward);
  const Matrix d_x =
      backward ? d_x_.Shape(layout.rows(), model_->config().embedding_length) : Matrix();
  GradientResult result;
  result.weight_sum = layout.weight_sum;
  result.loss_sum = Loss(layout, d_x);
  if (!std::isfinite(result.loss_sum)) {
    return absl::InternalError(absl::StrCat("expected a finite loss, got ", result.loss_sum,
                                            "; first in ", FirstNonFinite(layout)));
  }
  if (backward) BackwardLayers(adapters, d_x);
  return result;
}

int64_t Engine::working_set_bytes() const {
  int64_t sum = pass_.bytes() + shared_.bytes();
  for (const Buffer& buffer : inputs_) sum += buffer.bytes();
  for (const LayerActivations& activations : kept_) sum += activations.bytes();
  for (const Buffer* buffer :
       {&d_x_, &scored_, &scored_normed_, &d_scored_, &d_scored_normed_, &logits_}) {
    sum += buffer->bytes();
  }
  return sum;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GradientEngine>> GradientEngine::Create(
    std::shared_ptr<const Model> model, ThreadPool* pool, const GradientEngineOptions& options) {
  if (model == nullptr || pool == nullptr) {
    return absl::InvalidArgumentError("gradient engine: expected a model and a thread pool");
  }
  if (model->layer(0).query_norm != nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("training: expected an architecture without norms of queries and keys (llama, "
                     "qwen2), got ",
                     model->config().architecture));
  }
  return std::make_unique<Engine>(std::move(model), pool, options);
}

int64_t EstimateWorkingSet(const Model& model, const Adapter& trained, int64_t rows) {
  const ModelConfig& config = model.config();
  const int64_t width = config.embedding_length;
  const int64_t q_width = int64_t{config.head_count} * config.head_size;
  const int64_t kv_width = int64_t{config.kv_head_count} * config.head_size;
  int64_t rank_sum = 0, largest_rank = 0;
  for (const AdapterMatrix& matrix : trained.matrices) {
    // Hidden states are held for one layer at a time.
    if (matrix.target.layer_index == trained.matrices.front().target.layer_index) {
      rank_sum += matrix.rank;
    }
    largest_rank = std::max<int64_t>(largest_rank, matrix.rank);
  }
  const int64_t checkpoints = width * (config.layer_count + 1);
  const int64_t scratch = config.rope_dimensions + width + config.feed_forward_length +
                          2 * q_width + 2 * kv_width + config.head_count + 2 * largest_rank;
  const int64_t loss = 5 * width;
  const int64_t a_row = checkpoints + ActivationFloats(config) + rank_sum + scratch + loss;
  const int64_t logits = std::min(rows, LogitRows(config)) * config.vocabulary_size;
  // Parameters, gradients, two moments, the last good and the best state.
  const int64_t optimizer = 6 * trained.ParameterCount();
  return (a_row * rows + logits + optimizer) * static_cast<int64_t>(sizeof(float));
}

}  // namespace lorikeet
