#include "device/runtime/session.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/runtime/forward.h"
#include "device/runtime/kv_cache.h"
#include "device/runtime/memory_estimate.h"
#include "device/runtime/scratch.h"
#include "device/runtime/session_file.h"
#include "kernels/softmax_xent.h"

namespace lorikeet {
namespace {

// Logits held while scoring, in numbers (16 MiB).
constexpr int64_t kScoreLogits = int64_t{1} << 22;

class SessionImpl final : public Session {
 public:
  SessionImpl(std::shared_ptr<const Model> model, ThreadPool* pool, bool exact, int context_length,
              const MemoryEstimate& estimate, std::unique_ptr<KvCache> cache)
      : model_(std::move(model)),
        config_(model_->config()),
        pool_(pool),
        exact_(exact),
        context_length_(context_length),
        estimate_(estimate),
        cache_(std::move(cache)),
        forward_(model_, exact, pool),
        adapters_(model_, exact),
        last_hidden_(config_.embedding_length) {}

  absl::Status SetAdapters(std::span<const AdapterRef> adapters) override;
  absl::StatusOr<AdapterHandle> AddAdapter(const AdapterRef& adapter,
                                           CachedPositions cached) override;
  absl::Status RemoveAdapter(AdapterHandle handle, CachedPositions cached) override;
  absl::Status ScaleAdapter(AdapterHandle handle, float scale, CachedPositions cached) override;

  absl::StatusOr<ConstMatrix> Decode(std::span<const TokenId> tokens, bool all_positions) override;
  absl::StatusOr<std::vector<float>> Score(std::span<const TokenId> tokens) override {
    return ScoreTail(tokens, 1);
  }
  absl::StatusOr<std::vector<float>> ScoreTail(std::span<const TokenId> tokens, int first) override;

  std::span<const float> last_hidden() const override { return last_hidden_; }
  const MemoryEstimate& estimate() const override { return estimate_; }
  int position() const override { return static_cast<int>(tokens_.size()); }
  std::span<const TokenId> tokens() const override { return tokens_; }
  int context_length() const override { return context_length_; }
  const Model& model() const override { return *model_; }
  void Rewind(int position) override {
    LORIKEET_CHECK(position >= 0 && position <= this->position());
    tokens_.resize(position);
    if (position == 0) mixed_ = false;
  }
  std::span<const TokenId> Reuse(std::span<const TokenId> prompt) override;
  absl::Status Save(const std::string& path) override;
  absl::Status Load(const std::string& path) override;

 private:
  void AdaptersChanged(CachedPositions cached);
  absl::Status CheckTokens(std::span<const TokenId> tokens, int start) const;
  // Appends at most kChunkPositions tokens; residual stream of those from `first` on.
  Matrix Forward(std::span<const TokenId> tokens, int64_t first);

  const std::shared_ptr<const Model> model_;
  const ModelConfig& config_;
  ThreadPool* const pool_;
  const bool exact_;
  const int context_length_;
  const MemoryEstimate estimate_;
  const std::unique_ptr<KvCache> cache_;
  ForwardPass forward_;
  AdapterSet adapters_;
  std::vector<TokenId> tokens_;  // one for each cached position
  bool mixed_ = false;           // some positions were computed with other adapters
  std::vector<float> last_hidden_;
  Scratch<float> logits_;
};

void SessionImpl::AdaptersChanged(CachedPositions cached) {
  if (cached == CachedPositions::kForget) Rewind(0);
  mixed_ = position() > 0;
}

absl::Status SessionImpl::SetAdapters(std::span<const AdapterRef> adapters) {
  for (const AdapterRef& ref : adapters) RETURN_IF_ERROR(model_->CheckAdapter(*ref.adapter));
  adapters_.Clear();
  for (const AdapterRef& ref : adapters) RETURN_IF_ERROR(adapters_.Add(ref).status());
  AdaptersChanged(CachedPositions::kForget);
  return absl::OkStatus();
}

absl::StatusOr<AdapterHandle> SessionImpl::AddAdapter(const AdapterRef& adapter,
                                                      CachedPositions cached) {
  ASSIGN_OR_RETURN(const AdapterHandle handle, adapters_.Add(adapter));
  AdaptersChanged(cached);
  return handle;
}

absl::Status SessionImpl::RemoveAdapter(AdapterHandle handle, CachedPositions cached) {
  RETURN_IF_ERROR(adapters_.Remove(handle));
  AdaptersChanged(cached);
  return absl::OkStatus();
}

absl::Status SessionImpl::ScaleAdapter(AdapterHandle handle, float scale, CachedPositions cached) {
  RETURN_IF_ERROR(adapters_.SetScale(handle, scale));
  AdaptersChanged(cached);
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

Matrix SessionImpl::Forward(std::span<const TokenId> tokens, int64_t first) {
  const Matrix x = forward_.Run(tokens, position(), first, adapters_, *cache_);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  return x;
}

absl::StatusOr<ConstMatrix> SessionImpl::Decode(std::span<const TokenId> tokens,
                                                bool all_positions) {
  RETURN_IF_ERROR(CheckTokens(tokens, position()));
  adapters_.Prepare(pool_);
  const int64_t vocabulary = config_.vocabulary_size;
  const int64_t wanted = all_positions ? static_cast<int64_t>(tokens.size()) : 1;
  const Matrix logits = logits_.Shape(wanted, vocabulary);
  for (size_t begin = 0; begin < tokens.size(); begin += kChunkPositions) {
    const size_t count = std::min<size_t>(kChunkPositions, tokens.size() - begin);
    const bool last = begin + count == tokens.size();
    const int64_t first = all_positions ? 0 : static_cast<int64_t>(last ? count - 1 : count);
    const Matrix x = Forward(tokens.subspan(begin, count), first);
    if (x.rows == 0) continue;
    const ConstMatrix normed = forward_.Norm(x);
    const int64_t out = all_positions ? static_cast<int64_t>(begin) : 0;
    forward_.Logits(normed, logits.Rows(out, out + normed.rows));
    if (last) std::copy_n(normed.row(normed.rows - 1), x.cols, last_hidden_.begin());
  }
  return ConstMatrix(logits);
}

absl::StatusOr<std::vector<float>> SessionImpl::ScoreTail(std::span<const TokenId> tokens,
                                                          int first) {
  if (tokens.empty()) return absl::InvalidArgumentError("expected at least one token, got none");
  const int64_t count = static_cast<int64_t>(tokens.size());
  LORIKEET_CHECK(first >= 1 && (first < count || count == 1));
  Rewind(0);
  std::vector<float> nll;
  if (count == 1) return nll;
  // The last token is only a target; it still has to be a token.
  RETURN_IF_ERROR(CheckTokens(tokens.subspan(count - 1), 0));
  const std::span<const TokenId> inputs = tokens.first(count - 1);
  RETURN_IF_ERROR(CheckTokens(inputs, 0));
  adapters_.Prepare(pool_);
  nll.resize(count - first);
  const int64_t vocabulary = config_.vocabulary_size;
  const int64_t panel = std::clamp<int64_t>(kScoreLogits / vocabulary, 1, kChunkPositions);
  for (int64_t begin = 0; begin < count - 1; begin += kChunkPositions) {
    const int64_t rows = std::min<int64_t>(kChunkPositions, count - 1 - begin);
    // Row t predicts tokens[begin + t + 1].
    const int64_t start = std::clamp<int64_t>(first - 1 - begin, 0, rows);
    const Matrix x = Forward(inputs.subspan(begin, rows), start);
    const ConstMatrix normed = x.rows > 0 ? forward_.Norm(x) : ConstMatrix(x);
    for (int64_t t = 0; t < normed.rows; t += panel) {
      const int64_t end = std::min(normed.rows, t + panel);
      const Matrix logits = logits_.Shape(end - t, vocabulary);
      forward_.Logits(normed.Rows(t, end), logits);
      const int64_t target = begin + start + t + 1;
      CrossEntropy(logits, tokens.data() + target, nll.data() + target - first, pool_);
    }
  }
  Rewind(0);
  return nll;
}

std::span<const TokenId> SessionImpl::Reuse(std::span<const TokenId> prompt) {
  if (prompt.empty()) {
    Rewind(0);
    return prompt;
  }
  const auto end = std::mismatch(tokens_.begin(), tokens_.end(), prompt.begin(), prompt.end());
  const size_t common = std::min<size_t>(end.first - tokens_.begin(), prompt.size() - 1);
  Rewind(static_cast<int>(common));
  return prompt.subspan(common);
}

absl::Status SessionImpl::Save(const std::string& path) {
  if (mixed_) {
    return absl::FailedPreconditionError(
        "session: expected positions of the active adapters only, got some of others; decode them "
        "again to save them");
  }
  ASSIGN_OR_RETURN(const SessionIdentity identity,
                   IdentifySession(*model_, exact_, adapters_.refs()));
  return WriteSessionFile(path, identity, tokens_, *cache_);
}

absl::Status SessionImpl::Load(const std::string& path) {
  Rewind(0);
  ASSIGN_OR_RETURN(const SessionIdentity identity,
                   IdentifySession(*model_, exact_, adapters_.refs()));
  ASSIGN_OR_RETURN(std::vector<TokenId> tokens,
                   ReadSessionFile(path, identity, context_length_, *cache_));
  if (!tokens.empty()) RETURN_IF_ERROR(CheckTokens(tokens, 0));
  tokens_ = std::move(tokens);
  return absl::OkStatus();
}

bool HasOnlyF32(const Model& model) {
  for (int layer = 0; layer < model.config().layer_count; ++layer) {
    for (const WeightView& weight : model.layer(layer).weights) {
      if (weight.type != TensorType::kF32) return false;
    }
  }
  return model.output().type == TensorType::kF32;
}

// Where no weight is rounded, neither is anything else: nothing would be faster.
bool IsExact(const Model& model, Precision precision) {
  return precision == Precision::kExact || HasOnlyF32(model);
}

}  // namespace

TensorType DefaultKvType(const Model& model, Precision precision) {
  return IsExact(model, precision) ? TensorType::kF32 : TensorType::kF16;
}

absl::StatusOr<std::unique_ptr<Session>> Session::Create(std::shared_ptr<const Model> model,
                                                         ThreadPool* pool,
                                                         const SessionOptions& options) {
  const ModelConfig& config = model->config();
  const int context = options.context_length != 0 ? options.context_length : config.context_length;
  if (context < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("context: expected a positive number of positions, got ", context));
  }
  const bool exact = IsExact(*model, options.precision);
  const TensorType kv_type = options.kv_type.value_or(DefaultKvType(*model, options.precision));
  RETURN_IF_ERROR(KvCache::CheckType(kv_type, config));
  const MemoryEstimate estimate =
      EstimateMemory(*model, {.context_length = context, .kv_type = kv_type, .exact = exact});
  RETURN_IF_ERROR(CheckMemory(estimate, context, MemoryLimitBytes()));
  ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache,
                   KvCache::Create(config, {.type = kv_type, .context_length = context}));
  return std::make_unique<SessionImpl>(std::move(model), pool, exact, context, estimate,
                                       std::move(cache));
}

}  // namespace lorikeet
