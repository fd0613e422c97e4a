#include "device/runtime/session.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "kernels/attention.h"
#include "kernels/fast_matmul.h"
#include "kernels/lora.h"
#include "kernels/matmul.h"
#include "kernels/quant.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/softmax_xent.h"
#include "kernels/swiglu.h"

namespace lorikeet {
namespace {

// Positions computed together: enough that a dequantized weight panel is used many times, small
// enough that the activations stay in cache.
constexpr int kChunk = 256;
// Logits held while scoring, in numbers (16 MiB).
constexpr int64_t kScoreLogits = int64_t{1} << 22;

// Memory that costs nothing until it is touched: a long context takes what is used of it.
using LazyBuffer = std::unique_ptr<float[]>;
LazyBuffer MakeLazy(int64_t count) { return LazyBuffer(new (std::nothrow) float[count]); }

int64_t PhysicalBytes() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

void AddRows(ConstMatrix from, Matrix to) {
  for (int64_t t = 0; t < to.rows; ++t) {
    const float* source = from.row(t);
    float* target = to.row(t);
    for (int64_t c = 0; c < to.cols; ++c) target[c] += source[c];
  }
}

void AddBias(const float* bias, Matrix y) {
  if (bias == nullptr) return;
  for (int64_t t = 0; t < y.rows; ++t) {
    float* row = y.row(t);
    for (int64_t c = 0; c < y.cols; ++c) row[c] += bias[c];
  }
}

// One adapter's matrices beside one weight; borrowed.
struct LowRank {
  ConstMatrix a;  // [R, C]
  ConstMatrix b;  // [OC, R]
  float scale = 1.0f;
};

class SessionImpl final : public Session {
 public:
  SessionImpl(std::shared_ptr<const Model> model, ThreadPool* pool, const SessionOptions& options)
      : model_(std::move(model)),
        config_(model_->config()),
        pool_(pool),
        precision_(options.precision),
        context_length_(options.context_length) {}

  absl::Status Allocate();

  absl::Status SetAdapters(std::span<const AdapterRef> adapters) override;
  absl::StatusOr<ConstMatrix> Decode(std::span<const TokenId> tokens, bool all_positions) override;
  absl::StatusOr<std::vector<float>> Score(std::span<const TokenId> tokens) override {
    return ScoreTail(tokens, 1);
  }
  absl::StatusOr<std::vector<float>> ScoreTail(std::span<const TokenId> tokens, int first) override;

  std::span<const float> last_hidden() const override { return last_hidden_; }
  int position() const override { return position_; }
  int context_length() const override { return context_length_; }
  const Model& model() const override { return *model_; }
  void Rewind(int position) override {
    LORIKEET_CHECK(position >= 0 && position <= position_);
    position_ = position;
  }

 private:
  int query_channels() const { return config_.head_count * config_.head_size; }
  int key_channels() const { return config_.kv_head_count * config_.head_size; }
  Matrix Scratch(std::vector<float>& buffer, int64_t rows, int64_t cols) {
    return {buffer.data(), rows, cols};
  }
  // Rows [0, position_ + rows) of a layer's cache.
  Matrix Keys(int layer, int64_t rows) { return Cache(key_cache_, layer, rows); }
  Matrix Values(int layer, int64_t rows) { return Cache(value_cache_, layer, rows); }
  Matrix Cache(LazyBuffer& cache, int layer, int64_t rows) {
    const int64_t channels = key_channels();
    return {cache.get() + layer * channels * context_length_, position_ + rows, channels};
  }

  absl::Status CheckTokens(std::span<const TokenId> tokens, int start) const;
  // y = W x, without adapters.
  void Product(ConstMatrix x, const WeightView& weight, Matrix y);
  // y = W x + sum of adapters.
  void Project(ConstMatrix x, int layer, Module module, Matrix y);
  void AttentionBlock(int layer, Matrix x);
  void FeedForwardBlock(int layer, Matrix x);
  // Appends at most kChunk tokens; returns the residual stream after the last layer, [T, C].
  Matrix Forward(std::span<const TokenId> tokens);

  std::shared_ptr<const Model> model_;
  const ModelConfig& config_;
  ThreadPool* pool_;
  Precision precision_;
  int context_length_;
  int position_ = 0;

  std::vector<std::vector<LowRank>> low_rank_;  // [layer * kModuleCount + module]
  std::deque<std::vector<float>> effective_b_;  // of core adapters

  LazyBuffer key_cache_;  // [layers, context, kv heads * head size]
  LazyBuffer value_cache_;
  std::vector<float> residual_, normed_, projected_, queries_, attended_, gate_, up_;
  std::vector<float> rope_table_, rank_scratch_, last_hidden_, logits_;
  std::vector<int32_t> positions_;
  std::vector<uint8_t> fast_scratch_;
};

absl::Status SessionImpl::Allocate() {
  if (context_length_ == 0) context_length_ = config_.context_length;
  if (context_length_ < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("context: expected a positive number of positions, got ", context_length_));
  }
  const int64_t cached = int64_t{config_.layer_count} * context_length_ * key_channels();
  const int64_t bytes = 2 * cached * static_cast<int64_t>(sizeof(float));
  if (bytes <= PhysicalBytes()) {
    key_cache_ = MakeLazy(cached);
    value_cache_ = MakeLazy(cached);
  }
  if (key_cache_ == nullptr || value_cache_ == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("context: ", context_length_, " positions need ",
                                                   bytes,
                                                   " bytes of cache, more than this machine has"));
  }
  const int64_t rows = std::min(kChunk, context_length_);
  const int64_t channels = config_.embedding_length;
  residual_.resize(rows * channels);
  normed_.resize(rows * channels);
  projected_.resize(rows * channels);
  queries_.resize(rows * query_channels());
  attended_.resize(rows * query_channels());
  gate_.resize(rows * config_.feed_forward_length);
  up_.resize(rows * config_.feed_forward_length);
  rope_table_.resize(rows * config_.rope_dimensions);
  positions_.resize(rows);
  last_hidden_.resize(channels);
  low_rank_.resize(config_.layer_count * kModuleCount);
  if (precision_ == Precision::kFast) {
    const int64_t widest =
        std::max<int64_t>({channels, query_channels(), config_.feed_forward_length});
    fast_scratch_.resize(RoundedBytes(rows, widest));
  }
  return absl::OkStatus();
}

absl::Status SessionImpl::SetAdapters(std::span<const AdapterRef> adapters) {
  for (const AdapterRef& ref : adapters) RETURN_IF_ERROR(model_->CheckAdapter(*ref.adapter));
  for (auto& list : low_rank_) list.clear();
  effective_b_.clear();
  int64_t max_rank = 0;
  for (const AdapterRef& ref : adapters) {
    for (const AdapterMatrix& matrix : ref.adapter->matrices) {
      const float* b = matrix.b.data();
      if (ref.adapter->info.kind == AdapterKind::kCore) {
        effective_b_.push_back(matrix.EffectiveB());
        b = effective_b_.back().data();
      }
      const int index =
          matrix.target.layer_index * kModuleCount + static_cast<int>(matrix.target.module);
      low_rank_[index].push_back({.a = {matrix.a.data(), matrix.rank, matrix.in_features},
                                  .b = {b, matrix.out_features, matrix.rank},
                                  .scale = ref.scale * ref.adapter->BaseScale(matrix)});
      max_rank = std::max<int64_t>(max_rank, matrix.rank);
    }
  }
  rank_scratch_.resize(std::min(kChunk, context_length_) * max_rank);
  position_ = 0;
  return absl::OkStatus();
}

absl::Status SessionImpl::CheckTokens(std::span<const TokenId> tokens, int start) const {
  if (tokens.empty()) return absl::InvalidArgumentError("expected at least one token, got none");
  for (const TokenId id : tokens) {
    if (id < 0 || id >= config_.vocabulary_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id: expected 0 to ", config_.vocabulary_size - 1, ", got ", id));
    }
  }
  if (tokens.size() > static_cast<size_t>(context_length_ - start)) {
    return absl::ResourceExhaustedError(absl::StrCat("context of ", context_length_,
                                                     " positions is too short for ", start, " + ",
                                                     tokens.size(), " tokens"));
  }
  return absl::OkStatus();
}

void SessionImpl::Product(ConstMatrix x, const WeightView& weight, Matrix y) {
  if (precision_ == Precision::kFast) {
    const FastProduct product{.w = weight, .y = y};
    MatMulFast(RoundActivations(x, fast_scratch_.data(), pool_), {&product, 1}, pool_);
  } else {
    MatMul(x, weight, y, pool_);
  }
}

void SessionImpl::Project(ConstMatrix x, int layer, Module module, Matrix y) {
  Product(x, model_->layer(layer).weight(module), y);
  for (const LowRank& part : low_rank_[layer * kModuleCount + static_cast<int>(module)]) {
    LoraForward(x, part.a, part.b, part.scale, Scratch(rank_scratch_, x.rows, part.a.rows), y,
                pool_);
  }
}

void SessionImpl::AttentionBlock(int layer, Matrix x) {
  const LayerWeights& weights = model_->layer(layer);
  const int64_t rows = x.rows;
  const Matrix normed = Scratch(normed_, rows, x.cols);
  RmsNorm(x, weights.attention_norm, config_.rms_epsilon, normed, pool_);

  const Matrix queries = Scratch(queries_, rows, query_channels());
  const Matrix keys = Keys(layer, rows);
  const Matrix values = Values(layer, rows);
  const Matrix new_keys = keys.Rows(position_, position_ + rows);
  const Matrix new_values = values.Rows(position_, position_ + rows);
  Project(normed, layer, Module::kQ, queries);
  Project(normed, layer, Module::kK, new_keys);
  Project(normed, layer, Module::kV, new_values);
  AddBias(weights.bias_q, queries);
  AddBias(weights.bias_k, new_keys);
  AddBias(weights.bias_v, new_values);

  const Matrix table = Scratch(rope_table_, rows, config_.rope_dimensions);
  Rope(queries, config_.head_size, config_.rope_half_split, table, pool_);
  Rope(new_keys, config_.head_size, config_.rope_half_split, table, pool_);

  const AttentionShape shape{.heads = config_.head_count,
                             .kv_heads = config_.kv_head_count,
                             .head_size = config_.head_size,
                             .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_size)),
                             .query_offset = position_};
  const Matrix attended = Scratch(attended_, rows, query_channels());
  Attention(queries, keys, values, shape, attended, Matrix(), pool_);
  const Matrix projected = Scratch(projected_, rows, x.cols);
  Project(attended, layer, Module::kO, projected);
  AddRows(projected, x);
}

void SessionImpl::FeedForwardBlock(int layer, Matrix x) {
  const LayerWeights& weights = model_->layer(layer);
  const Matrix normed = Scratch(normed_, x.rows, x.cols);
  RmsNorm(x, weights.ffn_norm, config_.rms_epsilon, normed, pool_);
  const Matrix gate = Scratch(gate_, x.rows, config_.feed_forward_length);
  const Matrix up = Scratch(up_, x.rows, config_.feed_forward_length);
  Project(normed, layer, Module::kGate, gate);
  Project(normed, layer, Module::kUp, up);
  SwiGlu(gate, up, gate, pool_);
  const Matrix projected = Scratch(projected_, x.rows, x.cols);
  Project(gate, layer, Module::kDown, projected);
  AddRows(projected, x);
}

Matrix SessionImpl::Forward(std::span<const TokenId> tokens) {
  const int64_t rows = static_cast<int64_t>(tokens.size());
  const Matrix x = Scratch(residual_, rows, config_.embedding_length);
  const WeightView& embedding = model_->token_embedding();
  for (int64_t t = 0; t < rows; ++t) {
    DequantizeRow(embedding.type, embedding.row(tokens[t]), x.cols, x.row(t));
    positions_[t] = static_cast<int32_t>(position_ + t);
  }
  FillRopeTable(positions_.data(), model_->rope_inverse_frequencies().data(),
                Scratch(rope_table_, rows, config_.rope_dimensions));
  for (int layer = 0; layer < config_.layer_count; ++layer) {
    AttentionBlock(layer, x);
    FeedForwardBlock(layer, x);
  }
  position_ += static_cast<int>(rows);
  return x;
}

absl::StatusOr<ConstMatrix> SessionImpl::Decode(std::span<const TokenId> tokens,
                                                bool all_positions) {
  RETURN_IF_ERROR(CheckTokens(tokens, position_));
  const int64_t vocabulary = config_.vocabulary_size;
  const int64_t wanted = all_positions ? static_cast<int64_t>(tokens.size()) : 1;
  logits_.resize(wanted * vocabulary);
  const Matrix logits = Scratch(logits_, wanted, vocabulary);
  for (size_t begin = 0; begin < tokens.size(); begin += kChunk) {
    const size_t count = std::min<size_t>(kChunk, tokens.size() - begin);
    const Matrix x = Forward(tokens.subspan(begin, count));
    const bool last = begin + count == tokens.size();
    if (!all_positions && !last) continue;
    const int64_t first = all_positions ? 0 : x.rows - 1;
    const Matrix normed = Scratch(normed_, x.rows - first, x.cols);
    RmsNorm(x.Rows(first, x.rows), model_->output_norm(), config_.rms_epsilon, normed, pool_);
    const int64_t out = all_positions ? static_cast<int64_t>(begin) : 0;
    Product(normed, model_->output(), logits.Rows(out, out + normed.rows));
    if (last) std::copy_n(normed.row(normed.rows - 1), x.cols, last_hidden_.begin());
  }
  return ConstMatrix(logits);
}

absl::StatusOr<std::vector<float>> SessionImpl::ScoreTail(std::span<const TokenId> tokens,
                                                          int first) {
  if (tokens.empty()) return absl::InvalidArgumentError("expected at least one token, got none");
  const int64_t count = static_cast<int64_t>(tokens.size());
  LORIKEET_CHECK(first >= 1 && (first < count || count == 1));
  position_ = 0;
  std::vector<float> nll;
  if (count == 1) return nll;
  // The last token is only a target; it still has to be a token.
  RETURN_IF_ERROR(CheckTokens(tokens.subspan(count - 1), 0));
  const std::span<const TokenId> inputs = tokens.first(count - 1);
  RETURN_IF_ERROR(CheckTokens(inputs, 0));
  nll.resize(count - first);
  const int64_t vocabulary = config_.vocabulary_size;
  const int64_t panel = std::clamp<int64_t>(kScoreLogits / vocabulary, 1, kChunk);
  logits_.resize(panel * vocabulary);
  for (int64_t begin = 0; begin < count - 1; begin += kChunk) {
    const int64_t rows = std::min<int64_t>(kChunk, count - 1 - begin);
    const Matrix x = Forward(inputs.subspan(begin, rows));
    const Matrix normed = Scratch(normed_, rows, x.cols);
    RmsNorm(x, model_->output_norm(), config_.rms_epsilon, normed, pool_);
    // Row t predicts tokens[begin + t + 1].
    for (int64_t t = std::max<int64_t>(0, first - 1 - begin); t < rows; t += panel) {
      const int64_t end = std::min(rows, t + panel);
      const Matrix logits = Scratch(logits_, end - t, vocabulary);
      Product(normed.Rows(t, end), model_->output(), logits);
      const int64_t target = begin + t + 1;
      CrossEntropy(logits, tokens.data() + target, nll.data() + target - first, pool_);
    }
  }
  position_ = 0;
  return nll;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Create(std::shared_ptr<const Model> model,
                                                         ThreadPool* pool,
                                                         const SessionOptions& options) {
  auto session = std::make_unique<SessionImpl>(std::move(model), pool, options);
  RETURN_IF_ERROR(session->Allocate());
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace lorikeet
