#include "device/trainer/layer_pass.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/status_macros.h"
#include "kernels/lora.h"
#include "kernels/matmul.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "kernels/weight_gradients.h"

namespace lorikeet {
namespace {

void AddRows(ConstMatrix x, Matrix y, ThreadPool* pool) {
  pool->ParallelFor(y.rows, 16, [&](int64_t begin, int64_t end) {
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

bool IsQuantized(const WeightView& weight) { return TraitsOf(weight.type).block_elements > 1; }

int64_t LargestRank(const LayerAdapters& adapters) {
  int64_t rank = 0;
  for (const auto& active : adapters) {
    for (const ActiveMatrix& matrix : active) rank = std::max(rank, matrix.rank());
  }
  return rank;
}

}  // namespace

// Of the forward pass.
struct LayerPass::ForwardScratch {
  Matrix normed;                    // [T, C]
  Matrix gated;                     // [T, F]
  Matrix down_hidden, core_hidden;  // [T, largest rank]
  uint8_t* rounded;

  ForwardScratch(const LayerPass& pass, const LayerAdapters& adapters, int64_t rows, Arena& arena) {
    const ModelConfig& config = pass.model_.config();
    normed = arena.Take(rows, config.embedding_length);
    gated = arena.Take(rows, config.feed_forward_length);
    down_hidden = arena.Take(rows, LargestRank(adapters));
    core_hidden = arena.Take(rows, LargestRank(adapters));
    rounded = arena.TakeBytes(std::max({pass.RoundedBytesOf(rows, config.embedding_length),
                                        pass.RoundedBytesOf(rows, config.feed_forward_length),
                                        pass.RoundedBytesOf(rows, pass.QWidth())}));
  }
};

// Of both halves of the backward pass.
struct LayerPass::BackwardScratch {
  Matrix normed, d_normed;  // [T, C]
  Matrix core_hidden;       // [T, largest rank]

  BackwardScratch(const LayerPass& pass, const LayerAdapters& adapters, int64_t rows,
                  Arena& arena) {
    const int64_t width = pass.model_.config().embedding_length;
    normed = arena.Take(rows, width);
    d_normed = arena.Take(rows, width);
    core_hidden = arena.Take(rows, LargestRank(adapters));
  }
};

struct LayerPass::FeedForwardScratch {
  Matrix gated;  // [T, F], then its gradient
  std::vector<Matrix> down_hidden;
  LinearGradient down;
  LinearGradient inputs[2];  // gate, up

  FeedForwardScratch(const LayerPass& pass, const LayerAdapters& adapters, int64_t rows,
                     Arena& arena) {
    gated = arena.Take(rows, pass.model_.config().feed_forward_length);
    down_hidden = pass.TakeHidden(adapters[static_cast<int>(Module::kDown)], arena);
    {
      ArenaScope scope(arena);  // through with before the others begin
      down = pass.TakeLinear(Module::kDown, adapters, rows, arena);
    }
    inputs[0] = pass.TakeLinear(Module::kGate, adapters, rows, arena);
    inputs[1] = pass.TakeLinear(Module::kUp, adapters, rows, arena);
  }
};

struct LayerPass::AttentionScratch {
  Matrix d_attended, d_q, d_k, d_v, delta;
  LinearGradient output;
  LinearGradient inputs[3];  // q, k, v

  AttentionScratch(const LayerPass& pass, const LayerAdapters& adapters, int64_t rows,
                   Arena& arena) {
    d_attended = arena.Take(rows, pass.QWidth());
    d_q = arena.Take(rows, pass.QWidth());
    d_k = arena.Take(rows, pass.KvWidth());
    d_v = arena.Take(rows, pass.KvWidth());
    delta = arena.Take(pass.model_.config().head_count, rows);
    output = pass.TakeLinear(Module::kO, adapters, rows, arena);
    inputs[0] = pass.TakeLinear(Module::kQ, adapters, rows, arena);
    inputs[1] = pass.TakeLinear(Module::kK, adapters, rows, arena);
    inputs[2] = pass.TakeLinear(Module::kV, adapters, rows, arena);
  }
};

int64_t LayerPass::QWidth() const {
  return int64_t{model_.config().head_count} * model_.config().head_size;
}

int64_t LayerPass::KvWidth() const {
  return int64_t{model_.config().kv_head_count} * model_.config().head_size;
}

int64_t LayerPass::RoundedBytesOf(int64_t rows, int64_t cols) const {
  return precision_ == TrainPrecision::kFast ? RoundedBytes(rows, cols) : 0;
}

bool LayerPass::Rounds(const WeightView& weight) const {
  return precision_ == TrainPrecision::kFast && IsQuantized(weight);
}

bool LayerPass::RoundsTransposed(const WeightView& weight) const {
  return Rounds(weight) && weight.rows % 32 == 0;
}

std::vector<Matrix> LayerPass::TakeHidden(const std::vector<ActiveMatrix>& adapters,
                                          Arena& arena) const {
  std::vector<Matrix> hidden;
  for (const ActiveMatrix& adapter : adapters) {
    hidden.push_back(arena.Take(adapter.rows(), adapter.rank()));
  }
  return hidden;
}

LayerPass::LinearGradient LayerPass::TakeLinear(Module module, const LayerAdapters& adapters,
                                                int64_t rows, Arena& arena) const {
  const int64_t width = model_.layer(0).weight(module).rows;
  LinearGradient linear;
  linear.module = module;
  linear.rounded = arena.TakeBytes(RoundedBytesOf(rows, width));
  linear.d_hidden = TakeHidden(adapters[static_cast<int>(module)], arena);
  return linear;
}

LayerActivations LayerPass::TakeActivations(const LayerAdapters& adapters, int64_t rows,
                                            Arena& arena) const {
  const ModelConfig& config = model_.config();
  LayerActivations activations;
  activations.q = arena.Take(rows, QWidth());
  activations.k = arena.Take(rows, KvWidth());
  activations.v = arena.Take(rows, KvWidth());
  activations.attended = arena.Take(rows, QWidth());
  activations.log_sum_exp = arena.Take(config.head_count, rows);
  activations.middle = arena.Take(rows, config.embedding_length);
  activations.gate = arena.Take(rows, config.feed_forward_length);
  activations.up = arena.Take(rows, config.feed_forward_length);
  for (int i = 0; i < kModuleCount; ++i) {
    if (static_cast<Module>(i) == Module::kDown) continue;
    activations.hidden[i] = TakeHidden(adapters[i], arena);
  }
  return activations;
}

void LayerPass::CountForward(const LayerAdapters& adapters, int64_t rows, Arena& arena) const {
  ArenaScope scope(arena);
  const ForwardScratch scratch(*this, adapters, rows, arena);
}

void LayerPass::CountBackward(const LayerAdapters& adapters, int64_t rows, Arena& arena) const {
  ArenaScope scope(arena);
  const BackwardScratch scratch(*this, adapters, rows, arena);
  {
    ArenaScope inner(arena);
    const FeedForwardScratch feed_forward(*this, adapters, rows, arena);
  }
  const AttentionScratch attention(*this, adapters, rows, arena);
}

void LayerPass::Begin(const BatchLayout& layout, Matrix rope_table) {
  layout_ = &layout;
  rope_table_ = rope_table;
  model_.FillRopeTable(layout.positions.data(), rope_table);
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

void LayerPass::LinearsForward(int layer_index, std::span<const LinearOutput> outputs,
                               ConstMatrix x, const LayerAdapters& adapters,
                               LayerActivations& activations, const ForwardScratch& scratch) {
  const LayerWeights& weights = model_.layer(layer_index);
  RoundedActivations rounded{.x = x};
  std::vector<FastProduct> products;
  for (const LinearOutput& output : outputs) {
    const WeightView& weight = weights.weight(output.module);
    if (Rounds(weight)) {
      products.push_back({.w = weight, .y = output.y});
    } else {
      MatMul(x, weight, output.y, pool_);
    }
  }
  if (!products.empty()) {
    rounded = RoundActivations(x, scratch.rounded, pool_);
    MatMulFast(rounded, products, pool_);
  }
  for (const LinearOutput& output : outputs) {
    if (output.bias != nullptr) AddBias(output.bias, output.y);
    const int module = static_cast<int>(output.module);
    for (size_t i = 0; i < adapters[module].size(); ++i) {
      const ActiveMatrix& adapter = adapters[module][i];
      const ConstMatrix rows = x.Rows(adapter.begin, adapter.end);
      const Matrix y = output.y.Rows(adapter.begin, adapter.end);
      // The input of down is not kept, nor is A times it.
      const Matrix hidden = output.module == Module::kDown
                                ? Matrix(scratch.down_hidden.data, adapter.rows(), adapter.rank())
                                : activations.hidden[module][i];
      if (adapter.core.data != nullptr) {
        const Matrix g(scratch.core_hidden.data, adapter.rows(), adapter.rank());
        CoreForward(rows, adapter.a, adapter.core, adapter.b, adapter.scale, hidden, g, y, pool_);
      } else {
        LoraForward(rows, adapter.a, adapter.b, adapter.scale, hidden, y, pool_);
      }
    }
  }
  between_();
}

void LayerPass::Forward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
                        LayerActivations& activations, Matrix out, Arena& arena) {
  LORIKEET_CHECK(layout_ != nullptr && x.rows == layout_->rows());
  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer(layer_index);
  ArenaScope scope(arena);
  const ForwardScratch scratch(*this, adapters, x.rows, arena);
  LayerActivations& a = activations;
  const auto linears = [&](std::initializer_list<LinearOutput> outputs, ConstMatrix input) {
    LinearsForward(layer_index, {outputs.begin(), outputs.size()}, input, adapters, a, scratch);
  };

  RmsNorm(x, weights.attention_norm, config.rms_epsilon, scratch.normed, pool_);
  linears({{Module::kQ, weights.bias_q, a.q},
           {Module::kK, weights.bias_k, a.k},
           {Module::kV, weights.bias_v, a.v}},
          scratch.normed);
  Rope(a.q, config.head_size, config.rope_half_split, rope_table_, pool_);
  Rope(a.k, config.head_size, config.rope_half_split, rope_table_, pool_);
  Attention(a.q, a.k, a.v, Shape(), a.attended, a.log_sum_exp, pool_);
  between_();
  linears({{Module::kO, nullptr, a.middle}}, a.attended);
  AddRows(x, a.middle, pool_);

  RmsNorm(a.middle, weights.ffn_norm, config.rms_epsilon, scratch.normed, pool_);
  linears({{Module::kGate, nullptr, a.gate}, {Module::kUp, nullptr, a.up}}, scratch.normed);
  a.valid = true;
  if (out.data == nullptr) return;
  SwiGlu(a.gate, a.up, scratch.gated, pool_);
  linears({{Module::kDown, nullptr, out}}, scratch.gated);
  AddRows(a.middle, out, pool_);
}

void LayerPass::AdapterGradients(const BackwardArgs& args, LinearGradient& linear, ConstMatrix x) {
  const int module = static_cast<int>(linear.module);
  for (size_t i = 0; i < args.adapters[module].size(); ++i) {
    const ActiveMatrix& adapter = args.adapters[module][i];
    const ConstMatrix d_y = linear.d_y.Rows(adapter.begin, adapter.end);
    const Matrix d_hidden = linear.d_hidden[i];
    if (adapter.gradient == nullptr) {
      GemmNN(d_y, adapter.b, d_hidden, adapter.scale, /*accumulate=*/false, pool_);
      continue;
    }
    const ConstMatrix hidden = args.activations.hidden[module][i];
    if (adapter.core.data != nullptr) {
      // d_hidden holds d (R A x) until AddAdaptersInput.
      CoreBackward({.a = adapter.a,
                    .core = adapter.core,
                    .b = adapter.b,
                    .h = hidden,
                    .d_y = d_y,
                    .scale = adapter.scale,
                    .d_g = d_hidden,
                    .d_h = {},
                    .d_core = GradientView(adapter.gradient->core, adapter.core),
                    .d_x = {}},
                   pool_);
      continue;
    }
    LoraBackward({.x = x.Rows(adapter.begin, adapter.end),
                  .a = adapter.a,
                  .b = adapter.b,
                  .h = hidden,
                  .d_y = d_y,
                  .scale = adapter.scale,
                  .d_h = d_hidden,
                  .d_a = GradientView(adapter.gradient->a, adapter.a),
                  .d_b = GradientView(adapter.gradient->b, adapter.b),
                  .d_x = {}},
                 pool_);
  }
}

void LayerPass::AddAdaptersInput(const BackwardArgs& args, const LinearGradient& linear, Matrix d_x,
                                 const BackwardScratch& scratch) {
  const auto& adapters = args.adapters[static_cast<int>(linear.module)];
  for (size_t i = 0; i < adapters.size(); ++i) {
    const ActiveMatrix& adapter = adapters[i];
    Matrix d_hidden = linear.d_hidden[i];
    if (adapter.core.data != nullptr) {
      const Matrix d_h(scratch.core_hidden.data, adapter.rows(), adapter.rank());
      GemmNN(d_hidden, adapter.core, d_h, 1.0f, /*accumulate=*/false, pool_);
      d_hidden = d_h;
    }
    GemmNN(d_hidden, adapter.a, d_x.Rows(adapter.begin, adapter.end), 1.0f, /*accumulate=*/true,
           pool_);
  }
}

void LayerPass::LinearsBackward(const BackwardArgs& args, std::span<LinearGradient> linears,
                                ConstMatrix x, Matrix d_x, const BackwardScratch& scratch) {
  const LayerWeights& weights = model_.layer(args.layer_index);
  for (LinearGradient& linear : linears) {
    AdapterGradients(args, linear, x);
    if (args.weights != nullptr) {
      GemmTN(linear.d_y, x, args.weights->weights[static_cast<int>(linear.module)], 1.0f,
             /*accumulate=*/true, pool_);
      if (linear.bias_gradient != nullptr) BiasBackward(linear.d_y, linear.bias_gradient, pool_);
    }
  }
  if (d_x.data == nullptr) return;
  std::vector<FastBackwardProduct> products;
  bool written = false;  // d_x holds a part of the sum
  for (const LinearGradient& linear : linears) {
    const WeightView& weight = weights.weight(linear.module);
    if (RoundsTransposed(weight)) {
      products.push_back({RoundActivations(linear.d_y, linear.rounded, pool_), weight});
      continue;
    }
    if (!written) std::fill_n(d_x.data, d_x.rows * d_x.cols, 0.0f);
    written = true;
    MatMulBackwardInput(linear.d_y, weight, d_x, pool_);
  }
  if (!products.empty()) MatMulFastBackward(products, d_x, /*accumulate=*/written, pool_);
  for (const LinearGradient& linear : linears) AddAdaptersInput(args, linear, d_x, scratch);
  between_();
}

void LayerPass::FeedForwardBackward(const BackwardArgs& args, BackwardScratch& scratch,
                                    Arena& arena) {
  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer(args.layer_index);
  LayerActivations& a = args.activations;
  ArenaScope scope(arena);
  FeedForwardScratch own(*this, args.adapters, args.x.rows, arena);
  SwiGlu(a.gate, a.up, own.gated, pool_);
  const int down = static_cast<int>(Module::kDown);
  for (size_t i = 0; i < args.adapters[down].size(); ++i) {
    const ActiveMatrix& adapter = args.adapters[down][i];
    if (adapter.gradient == nullptr) continue;
    GemmNT(own.gated.Rows(adapter.begin, adapter.end), adapter.a, own.down_hidden[i], 1.0f,
           /*accumulate=*/false, pool_);
  }
  a.hidden[down] = own.down_hidden;
  own.down.d_y = args.d_x;
  LinearsBackward(args, {&own.down, 1}, own.gated, own.gated, scratch);
  SwiGluBackward(a.gate, a.up, own.gated, a.gate, a.up, pool_);
  RmsNorm(a.middle, weights.ffn_norm, config.rms_epsilon, scratch.normed, pool_);
  own.inputs[0].d_y = a.gate;
  own.inputs[1].d_y = a.up;
  const bool wants_input = args.reach != BackwardReach::kFeedForward;
  LinearsBackward(args, own.inputs, scratch.normed, wants_input ? scratch.d_normed : Matrix(),
                  scratch);
  if (!wants_input) return;
  if (args.weights != nullptr) {
    RmsNormBackwardWeight(a.middle, config.rms_epsilon, scratch.d_normed, args.weights->ffn_norm);
  }
  RmsNormBackward(a.middle, weights.ffn_norm, config.rms_epsilon, scratch.d_normed, args.d_x,
                  pool_);
}

void LayerPass::AttentionBackward(const BackwardArgs& args, BackwardScratch& scratch,
                                  Arena& arena) {
  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer(args.layer_index);
  LayerActivations& a = args.activations;
  ArenaScope scope(arena);
  AttentionScratch own(*this, args.adapters, args.x.rows, arena);
  own.output.d_y = args.d_x;
  LinearsBackward(args, {&own.output, 1}, a.attended, own.d_attended, scratch);
  lorikeet::AttentionBackward({.q = a.q,
                               .k = a.k,
                               .v = a.v,
                               .out = a.attended,
                               .log_sum_exp = a.log_sum_exp,
                               .d_out = own.d_attended,
                               .d_q = own.d_q,
                               .d_k = own.d_k,
                               .d_v = own.d_v,
                               .delta = own.delta},
                              Shape(), pool_);
  between_();
  RopeBackward(own.d_q, config.head_size, config.rope_half_split, rope_table_, pool_);
  RopeBackward(own.d_k, config.head_size, config.rope_half_split, rope_table_, pool_);
  RmsNorm(args.x, weights.attention_norm, config.rms_epsilon, scratch.normed, pool_);
  own.inputs[0].d_y = own.d_q;
  own.inputs[1].d_y = own.d_k;
  own.inputs[2].d_y = own.d_v;
  if (args.weights != nullptr) {
    own.inputs[0].bias_gradient = args.weights->bias_q;
    own.inputs[1].bias_gradient = args.weights->bias_k;
    own.inputs[2].bias_gradient = args.weights->bias_v;
  }
  const bool wants_input = args.reach == BackwardReach::kInput;
  LinearsBackward(args, own.inputs, scratch.normed, wants_input ? scratch.d_normed : Matrix(),
                  scratch);
  if (!wants_input) return;
  if (args.weights != nullptr) {
    RmsNormBackwardWeight(args.x, config.rms_epsilon, scratch.d_normed,
                          args.weights->attention_norm);
  }
  RmsNormBackward(args.x, weights.attention_norm, config.rms_epsilon, scratch.d_normed, args.d_x,
                  pool_);
}

void LayerPass::Backward(const BackwardArgs& args, Arena& arena) {
  LORIKEET_CHECK(args.activations.valid);
  args.activations.valid = false;
  ArenaScope scope(arena);
  BackwardScratch scratch(*this, args.adapters, args.x.rows, arena);
  FeedForwardBackward(args, scratch, arena);
  if (args.reach != BackwardReach::kFeedForward) AttentionBackward(args, scratch, arena);
}

}  // namespace lorikeet
