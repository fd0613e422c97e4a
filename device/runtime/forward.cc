#include "device/runtime/forward.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"
#include "kernels/fast_matmul.h"
#include "kernels/lora.h"
#include "kernels/matmul.h"
#include "kernels/quant.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace lorikeet {
namespace {

// Fewer rows of simple work are not worth waking a thread for.
constexpr int64_t kRowsWorthAThread = 8;

template <typename Body>
void ForRows(ThreadPool* pool, int64_t rows, const Body& body) {
  const auto range = [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body(t);
  };
  if (pool == nullptr || rows < 2 * kRowsWorthAThread) {
    range(0, rows);
  } else {
    pool->ParallelFor(rows, kRowsWorthAThread, range);
  }
}

void AddRow(const float* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

RoundedActivations RowsOf(const RoundedActivations& all, int64_t begin, int64_t end) {
  RoundedActivations rows = all;
  rows.x = all.x.Rows(begin, end);
  if (all.q != nullptr) {
    rows.q += begin * all.q_stride;
    rows.scales += begin * all.scale_stride;
    rows.sums += begin * all.sum_stride;
  }
  if (all.bf16 != nullptr) rows.bf16 += begin * all.bf16_stride;
  return rows;
}

// hidden = x A^T, scaled.  So few columns do not keep several threads busy: many rows are shared
// out instead.
void HiddenValues(const RoundedActivations& x, const RoundedLowRank& low_rank, Matrix hidden,
                  ThreadPool* pool) {
  constexpr int64_t kRowsOfAThread = 64;  // more than any kernel for few rows takes
  const auto range = [&](int64_t begin, int64_t end) {
    const Matrix rows = hidden.Rows(begin, end);
    const FastProduct product{.w = low_rank.a, .y = rows};
    MatMulFast(RowsOf(x, begin, end), {&product, 1}, nullptr);
    for (int64_t t = 0; t < rows.rows; ++t) {
      for (int64_t r = 0; r < rows.cols; ++r) rows.row(t)[r] *= low_rank.scales[r];
    }
  };
  if (pool == nullptr || hidden.rows < kRowsOfAThread * pool->threads()) {
    range(0, hidden.rows);
  } else {
    pool->ParallelFor(hidden.rows, kRowsOfAThread, range);
  }
}

// Consecutive pieces of one buffer, each at a cache line.
class Pieces {
 public:
  explicit Pieces(float* data) : at_(data) {}
  static int64_t Size(int64_t rows, int64_t cols) { return (rows * cols + 15) / 16 * 16; }
  Matrix Take(int64_t rows, int64_t cols) {
    const Matrix piece(at_, rows, cols);
    at_ += Size(rows, cols);
    return piece;
  }

 private:
  float* at_;
};

}  // namespace

ForwardPass::ForwardPass(std::shared_ptr<const Model> model, bool exact, ThreadPool* pool)
    : model_(std::move(model)), config_(model_->config()), exact_(exact), pool_(pool) {}

int64_t ForwardPass::ScratchBytes(const ModelConfig& config, bool exact, int64_t rows) {
  const int64_t queries = int64_t{config.head_count} * config.head_size;
  const int64_t keys = int64_t{config.kv_head_count} * config.head_size;
  const int64_t channels = config.embedding_length;
  const int64_t width = config.feed_forward_length;
  const int64_t stage = std::max(2 * queries + 2 * keys, 2 * width);
  const int64_t floats = 2 * channels + (exact ? channels : 0) + config.rope_dimensions + stage;
  const int64_t widest = std::max({channels, queries, width});
  return rows * floats * int64_t{sizeof(float)} + (exact ? 0 : RoundedBytes(rows, widest));
}

void ForwardPass::FloatProduct(ConstMatrix x, int layer, const Output& output) {
  const Matrix y = output.accumulate ? added_.Shape(x.rows, output.y.cols) : output.y;
  MatMul(x, model_->layer(layer).weight(output.module), y, pool_);
  for (const LowRank& low_rank : adapters_->Floats(layer, output.module)) {
    const Matrix hidden = hidden_.Shape(x.rows, low_rank.a.rows);
    LoraForward(x, low_rank.a, low_rank.b, low_rank.scale, hidden, y, pool_);
  }
  if (output.bias == nullptr && !output.accumulate) return;
  ForRows(pool_, x.rows, [&](int64_t t) {
    if (output.bias != nullptr) AddRow(output.bias, y.cols, y.row(t));
    if (output.accumulate) AddRow(y.row(t), y.cols, output.y.row(t));
  });
}

void ForwardPass::RoundedProducts(ConstMatrix x, int layer, ProductInput input,
                                  std::span<const Output> outputs) {
  const RoundedActivations rounded =
      RoundActivations(x, rounded_.Need(RoundedBytes(x.rows, x.cols)), pool_);
  const RoundedLowRank& low_rank = adapters_->Rounded(layer, input);
  Matrix hidden;
  if (!low_rank.a.empty()) {
    hidden = hidden_.Shape(x.rows, low_rank.a.rows);
    HiddenValues(rounded, low_rank, hidden, pool_);
  }
  const std::span<const Module> modules = ModulesOf(input);
  std::array<FastProduct, kMaxModulesOfInput> products;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Output& output = outputs[i];
    products[i] = {.w = model_->layer(layer).weight(output.module),
                   .y = output.y,
                   .accumulate = output.accumulate,
                   .bias = output.bias};
    const size_t place = std::find(modules.begin(), modules.end(), output.module) - modules.begin();
    const RoundedLowRank::Part& part = low_rank.parts[place];
    if (part.begin == part.end) continue;
    products[i].h = {hidden.data + part.begin, hidden.rows, part.end - part.begin, hidden.stride};
    products[i].b = part.b;
  }
  MatMulFast(rounded, {products.data(), outputs.size()}, pool_);
}

void ForwardPass::Products(ConstMatrix x, int layer, ProductInput input,
                           std::span<const Output> outputs) {
  if (!exact_) return RoundedProducts(x, layer, input, outputs);
  for (const Output& output : outputs) FloatProduct(x, layer, output);
}

void ForwardPass::TurnHeads(Matrix x, const float* norm, ConstMatrix table) {
  if (norm != nullptr) {
    const Matrix heads(x.data, x.rows * x.cols / config_.head_size, config_.head_size);
    RmsNorm(heads, norm, config_.rms_epsilon, heads, pool_);
  }
  Rope(x, config_.head_size, config_.rope_half_split, table, pool_);
}

void ForwardPass::AttentionBlock(int layer, Matrix x, int position, int64_t first, KvCache& cache) {
  const LayerWeights& weights = model_->layer(layer);
  const Matrix normed = normed_.Shape(x.rows, x.cols);
  RmsNorm(x, weights.attention_norm, config_.rms_epsilon, normed, pool_);

  const int64_t wanted = x.rows - first;
  Pieces pieces(stage_.Need(2 * Pieces::Size(x.rows, query_channels()) +
                            2 * Pieces::Size(x.rows, key_channels())));
  const Matrix queries = pieces.Take(wanted, query_channels());
  const Matrix attended = pieces.Take(wanted, query_channels());
  const Matrix keys = pieces.Take(x.rows, key_channels());
  const Matrix values = pieces.Take(x.rows, key_channels());
  const Output outputs[] = {{.module = Module::kQ, .y = queries, .bias = weights.bias_q},
                            {.module = Module::kK, .y = keys, .bias = weights.bias_k},
                            {.module = Module::kV, .y = values, .bias = weights.bias_v}};
  if (first == 0) {
    Products(normed, layer, ProductInput::kAttention, outputs);
  } else {
    Products(normed, layer, ProductInput::kAttention, std::span(outputs).subspan(1));
    if (wanted > 0) {
      Products(normed.Rows(first, x.rows), layer, ProductInput::kAttention,
               std::span(outputs).first(1));
    }
  }
  const Matrix table = rope_table_.Shape(x.rows, config_.rope_dimensions);
  TurnHeads(keys, weights.key_norm, table);
  cache.Store(layer, position, keys, values, pool_);
  if (wanted == 0) return;
  TurnHeads(queries, weights.query_norm, table.Rows(first, x.rows));
  cache.Attend(layer, position + first, queries, attended, pool_);
  const Output output{.module = Module::kO, .y = x.Rows(first, x.rows), .accumulate = true};
  Products(attended, layer, ProductInput::kOutput, {&output, 1});
}

void ForwardPass::FeedForwardBlock(int layer, Matrix x) {
  const LayerWeights& weights = model_->layer(layer);
  const Matrix normed = normed_.Shape(x.rows, x.cols);
  RmsNorm(x, weights.ffn_norm, config_.rms_epsilon, normed, pool_);
  const int64_t width = config_.feed_forward_length;
  Pieces pieces(stage_.Need(2 * Pieces::Size(x.rows, width)));
  const Matrix gate = pieces.Take(x.rows, width);
  const Matrix up = pieces.Take(x.rows, width);
  const Output outputs[] = {{.module = Module::kGate, .y = gate}, {.module = Module::kUp, .y = up}};
  Products(normed, layer, ProductInput::kFeedForward, outputs);
  SwiGlu(gate, up, gate, pool_);
  const Output output{.module = Module::kDown, .y = x, .accumulate = true};
  Products(gate, layer, ProductInput::kDown, {&output, 1});
}

void ForwardPass::Embed(std::span<const TokenId> tokens, Matrix x) {
  const WeightView& embedding = model_->token_embedding();
  ForRows(pool_, x.rows, [&](int64_t t) {
    DequantizeRow(embedding.type, embedding.row(tokens[t]), x.cols, x.row(t));
  });
}

Matrix ForwardPass::Run(std::span<const TokenId> tokens, int position, int64_t first,
                        const AdapterSet& adapters, KvCache& cache) {
  const int64_t rows = static_cast<int64_t>(tokens.size());
  LORIKEET_CHECK(rows >= 1 && rows <= kChunkPositions && first >= 0 && first <= rows);
  adapters_ = &adapters;
  const Matrix x = residual_.Shape(rows, config_.embedding_length);
  Embed(tokens, x);
  positions_.resize(rows);
  std::iota(positions_.begin(), positions_.end(), position);
  model_->FillRopeTable(positions_.data(), rope_table_.Shape(rows, config_.rope_dimensions));
  for (int layer = 0; layer < config_.layer_count; ++layer) {
    // Of the last layer, the rows that nobody asked for only leave their keys and values.
    const int64_t start = layer + 1 == config_.layer_count ? first : 0;
    AttentionBlock(layer, x, position, start, cache);
    if (start < rows) FeedForwardBlock(layer, x.Rows(start, rows));
  }
  return x.Rows(first, rows);
}

ConstMatrix ForwardPass::Norm(ConstMatrix x) {
  const Matrix normed = normed_.Shape(x.rows, x.cols);
  RmsNorm(x, model_->output_norm(), config_.rms_epsilon, normed, pool_);
  return normed;
}

void ForwardPass::Logits(ConstMatrix normed, Matrix logits) {
  if (exact_) return MatMul(normed, model_->output(), logits, pool_);
  const FastProduct product{.w = model_->output(), .y = logits};
  const RoundedActivations rounded =
      RoundActivations(normed, rounded_.Need(RoundedBytes(normed.rows, normed.cols)), pool_);
  MatMulFast(rounded, {&product, 1}, pool_);
}

}  // namespace lorikeet
