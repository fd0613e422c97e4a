#include "device/trainer/layer_pass.h"

#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"
#include "kernels/lora.h"
#include "kernels/matmul.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace lorikeet {
namespace {

void AddRows(ConstMatrix x, Matrix y, ThreadPool* pool) {
  pool->ParallelFor(y.rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* from = x.row(t);
      float* to = y.row(t);
      for (int64_t c = 0; c < y.cols; ++c) to[c] += from[c];
    }
  });
}

void AddBias(const float* bias, Matrix y) {
  for (int64_t t = 0; t < y.rows; ++t) {
    float* row = y.row(t);
    for (int64_t c = 0; c < y.cols; ++c) row[c] += bias[c];
  }
}

Matrix GradientView(std::vector<float>& values, ConstMatrix like) {
  return values.empty() ? Matrix() : Matrix(values.data(), like.rows, like.cols);
}

}  // namespace

Matrix Buffer::Shape(int64_t rows, int64_t cols) {
  const auto size = static_cast<size_t>(rows * cols);
  if (values_.size() < size) {
    values_.clear();  // so that growing copies nothing
    values_.resize(size);
  }
  return {values_.data(), rows, cols};
}

Matrix Buffer::Zeros(int64_t rows, int64_t cols) {
  const Matrix view = Shape(rows, cols);
  std::fill_n(view.data, rows * cols, 0.0f);
  return view;
}

int64_t LayerActivations::bytes() const {
  int64_t sum = 0;
  for (const Buffer* buffer :
       {&normed, &q, &k, &v, &attended, &log_sum_exp, &middle, &ffn_normed, &gate, &up, &gated}) {
    sum += buffer->bytes();
  }
  for (const auto& buffers : hidden) {
    for (const Buffer& buffer : buffers) sum += buffer.bytes();
  }
  return sum;
}

LayerPass::LayerPass(const Model& model, ThreadPool* pool) : model_(model), pool_(pool) {}

void LayerPass::Begin(const BatchLayout& layout) {
  layout_ = &layout;
  model_.FillRopeTable(layout.positions.data(),
                       rope_table_.Shape(layout.rows(), model_.config().rope_dimensions));
}

AttentionShape LayerPass::Shape() const {
  const ModelConfig& config = model_.config();
  AttentionShape shape;
  shape.heads = config.head_count;
  shape.kv_heads = config.kv_head_count;
  shape.head_size = config.head_size;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(config.head_size));
  shape.first_key = layout_->first_key.data();
  return shape;
}

void LayerPass::LinearForward(const LinearArgs& args, ConstMatrix x, const float* bias, Matrix y) {
  MatMul(x, args.weight, y, pool_);
  if (bias != nullptr) AddBias(bias, y);
  args.hidden.resize(args.adapters.size());
  for (size_t i = 0; i < args.adapters.size(); ++i) {
    const ActiveMatrix& adapter = args.adapters[i];
    const Matrix hidden = args.hidden[i].Shape(x.rows, adapter.a.rows);
    if (adapter.core.data != nullptr) {
      CoreForward(x, adapter.a, adapter.core, adapter.b, adapter.scale, hidden,
                  core_hidden_.Shape(x.rows, adapter.a.rows), y, pool_);
    } else {
      LoraForward(x, adapter.a, adapter.b, adapter.scale, hidden, y, pool_);
    }
  }
}

void LayerPass::LinearBackward(const LinearArgs& args, ConstMatrix x, ConstMatrix d_y, Matrix d_x) {
  if (d_x.data != nullptr) MatMulBackwardInput(d_y, args.weight, d_x, pool_);
  for (size_t i = 0; i < args.adapters.size(); ++i) {
    const ActiveMatrix& adapter = args.adapters[i];
    if (adapter.gradient == nullptr && d_x.data == nullptr) continue;
    const int64_t rank = adapter.a.rows;
    const Matrix hidden = args.hidden[i].Shape(x.rows, rank);
    const Matrix d_hidden = d_hidden_.Shape(x.rows, rank);
    if (adapter.core.data != nullptr) {
      CoreBackward({.a = adapter.a,
                    .core = adapter.core,
                    .b = adapter.b,
                    .h = hidden,
                    .d_y = d_y,
                    .scale = adapter.scale,
                    .d_g = core_hidden_.Shape(x.rows, rank),
                    .d_h = d_hidden,
                    .d_core = GradientView(adapter.gradient->core, adapter.core),
                    .d_x = d_x},
                   pool_);
      continue;
    }
    LoraBackwardArgs lora{.x = x,
                          .a = adapter.a,
                          .b = adapter.b,
                          .h = hidden,
                          .d_y = d_y,
                          .scale = adapter.scale,
                          .d_h = d_hidden,
                          .d_a = {},
                          .d_b = {},
                          .d_x = d_x};
    if (adapter.gradient != nullptr) {
      lora.d_a = GradientView(adapter.gradient->a, adapter.a);
      lora.d_b = GradientView(adapter.gradient->b, adapter.b);
    }
    LoraBackward(lora, pool_);
  }
}

LayerPass::LinearArgs LayerPass::Linear(int layer_index, Module module,
                                        const LayerAdapters& adapters,
                                        LayerActivations& activations) const {
  const int index = static_cast<int>(module);
  return {model_.layer(layer_index).weight(module), adapters[index], activations.hidden[index]};
}

void LayerPass::AttentionForward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
                                 LayerActivations& activations) {
  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer(layer_index);
  const int64_t rows = x.rows;
  const int64_t q_width = int64_t{config.head_count} * config.head_size;
  const int64_t kv_width = int64_t{config.kv_head_count} * config.head_size;
  const Matrix normed = activations.normed.Shape(rows, x.cols);
  RmsNorm(x, weights.attention_norm, config.rms_epsilon, normed, pool_);
  const Matrix q = activations.q.Shape(rows, q_width);
  const Matrix k = activations.k.Shape(rows, kv_width);
  const Matrix v = activations.v.Shape(rows, kv_width);
  LinearForward(Linear(layer_index, Module::kQ, adapters, activations), normed, weights.bias_q, q);
  LinearForward(Linear(layer_index, Module::kK, adapters, activations), normed, weights.bias_k, k);
  LinearForward(Linear(layer_index, Module::kV, adapters, activations), normed, weights.bias_v, v);
  const ConstMatrix table = rope_table_.Shape(rows, config.rope_dimensions);
  Rope(q, config.head_size, config.rope_half_split, table, pool_);
  Rope(k, config.head_size, config.rope_half_split, table, pool_);
  const Matrix attended = activations.attended.Shape(rows, q_width);
  Attention(q, k, v, Shape(), attended, activations.log_sum_exp.Shape(config.head_count, rows),
            pool_);
  const Matrix middle = activations.middle.Shape(rows, x.cols);
  LinearForward(Linear(layer_index, Module::kO, adapters, activations), attended, nullptr, middle);
  AddRows(x, middle, pool_);
}

void LayerPass::Forward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
                        LayerActivations& activations, Matrix out) {
  LORIKEET_CHECK(layout_ != nullptr && x.rows == layout_->rows());
  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer(layer_index);
  AttentionForward(layer_index, adapters, x, activations);
  const Matrix middle = activations.middle.Shape(x.rows, x.cols);
  const Matrix normed = activations.ffn_normed.Shape(x.rows, x.cols);
  RmsNorm(middle, weights.ffn_norm, config.rms_epsilon, normed, pool_);
  const Matrix gate = activations.gate.Shape(x.rows, config.feed_forward_length);
  const Matrix up = activations.up.Shape(x.rows, config.feed_forward_length);
  const Matrix gated = activations.gated.Shape(x.rows, config.feed_forward_length);
  LinearForward(Linear(layer_index, Module::kGate, adapters, activations), normed, nullptr, gate);
  LinearForward(Linear(layer_index, Module::kUp, adapters, activations), normed, nullptr, up);
  SwiGlu(gate, up, gated, pool_);
  activations.layer_index = layer_index;
  if (out.data != nullptr) {
    LinearForward(Linear(layer_index, Module::kDown, adapters, activations), gated, nullptr, out);
    AddRows(middle, out, pool_);
    return;
  }
  // The product with the frozen weight is not needed again, but A x of the adapters is.
  const int down = static_cast<int>(Module::kDown);
  activations.hidden[down].resize(adapters[down].size());
  for (size_t i = 0; i < adapters[down].size(); ++i) {
    const ConstMatrix a = adapters[down][i].a;
    GemmNT(gated, a, activations.hidden[down][i].Shape(x.rows, a.rows), 1.0f, false, pool_);
  }
}

void LayerPass::FeedForwardBackward(int layer_index, const LayerAdapters& adapters,
                                    LayerActivations& activations, bool wants_input, Matrix d_x) {
  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer(layer_index);
  const int64_t width = config.feed_forward_length;
  const Matrix gate = activations.gate.Shape(d_x.rows, width);
  const Matrix up = activations.up.Shape(d_x.rows, width);
  const Matrix d_gated = d_gated_.Zeros(d_x.rows, width);
  LinearBackward(Linear(layer_index, Module::kDown, adapters, activations),
                 activations.gated.Shape(d_x.rows, width), d_x, d_gated);
  SwiGluBackward(gate, up, d_gated, gate, up, pool_);
  const Matrix normed = activations.ffn_normed.Shape(d_x.rows, d_x.cols);
  const Matrix d_normed = wants_input ? d_normed_.Zeros(d_x.rows, d_x.cols) : Matrix();
  LinearBackward(Linear(layer_index, Module::kGate, adapters, activations), normed, gate, d_normed);
  LinearBackward(Linear(layer_index, Module::kUp, adapters, activations), normed, up, d_normed);
  if (!wants_input) return;
  RmsNormBackward(activations.middle.Shape(d_x.rows, d_x.cols), weights.ffn_norm,
                  config.rms_epsilon, d_normed, d_x, pool_);
}

void LayerPass::Backward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
                         LayerActivations& activations, BackwardReach reach, Matrix d_x) {
  LORIKEET_CHECK(activations.layer_index == layer_index);
  activations.layer_index = -1;
  FeedForwardBackward(layer_index, adapters, activations, reach != BackwardReach::kFeedForward,
                      d_x);
  if (reach == BackwardReach::kFeedForward) return;

  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer(layer_index);
  const int64_t rows = x.rows;
  const int64_t q_width = int64_t{config.head_count} * config.head_size;
  const int64_t kv_width = int64_t{config.kv_head_count} * config.head_size;
  const Matrix attended = activations.attended.Shape(rows, q_width);
  const Matrix d_attended = d_attended_.Zeros(rows, q_width);
  LinearBackward(Linear(layer_index, Module::kO, adapters, activations), attended, d_x, d_attended);
  const Matrix d_q = d_q_.Shape(rows, q_width);
  const Matrix d_k = d_k_.Shape(rows, kv_width);
  const Matrix d_v = d_v_.Shape(rows, kv_width);
  AttentionBackward({.q = activations.q.Shape(rows, q_width),
                     .k = activations.k.Shape(rows, kv_width),
                     .v = activations.v.Shape(rows, kv_width),
                     .out = attended,
                     .log_sum_exp = activations.log_sum_exp.Shape(config.head_count, rows),
                     .d_out = d_attended,
                     .d_q = d_q,
                     .d_k = d_k,
                     .d_v = d_v,
                     .delta = delta_.Shape(config.head_count, rows)},
                    Shape(), pool_);
  const ConstMatrix table = rope_table_.Shape(rows, config.rope_dimensions);
  RopeBackward(d_q, config.head_size, config.rope_half_split, table, pool_);
  RopeBackward(d_k, config.head_size, config.rope_half_split, table, pool_);
  const bool wants_input = reach == BackwardReach::kInput;
  const Matrix normed = activations.normed.Shape(rows, x.cols);
  const Matrix d_normed = wants_input ? d_normed_.Zeros(rows, x.cols) : Matrix();
  LinearBackward(Linear(layer_index, Module::kQ, adapters, activations), normed, d_q, d_normed);
  LinearBackward(Linear(layer_index, Module::kK, adapters, activations), normed, d_k, d_normed);
  LinearBackward(Linear(layer_index, Module::kV, adapters, activations), normed, d_v, d_normed);
  if (!wants_input) return;
  RmsNormBackward(x, weights.attention_norm, config.rms_epsilon, d_normed, d_x, pool_);
}

int64_t LayerPass::bytes() const {
  int64_t sum = 0;
  for (const Buffer* buffer : {&rope_table_, &d_normed_, &d_gated_, &d_attended_, &d_q_, &d_k_,
                               &d_v_, &delta_, &d_hidden_, &core_hidden_}) {
    sum += buffer->bytes();
  }
  return sum;
}

}  // namespace lorikeet
