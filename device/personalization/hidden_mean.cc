#include "device/personalization/hidden_mean.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/tensor_type.h"

namespace lorikeet {
namespace {

// Fewer tokens of a document say little of it.
constexpr int64_t kLeastShare = 12;
// Positions of a window that have seen next to nothing yet: all texts look alike there.
constexpr int64_t kUnsettled = 4;
// A rest of fewer tokens is not worth a pass over all weights.
constexpr size_t kLeastRest = 16;

}  // namespace

std::vector<TokenSpan> ShareTokens(std::span<const TokenSpan> documents, int64_t max_tokens) {
  std::vector<TokenSpan> some;
  for (const TokenSpan document : documents) {
    if (!document.empty()) some.push_back(document);
  }
  const auto most = static_cast<size_t>(std::max<int64_t>(1, max_tokens / kLeastShare));
  if (some.size() > most) {
    for (size_t i = 0; i < most; ++i) some[i] = some[i * some.size() / most];
    some.resize(most);
  }
  // The longest cut whose sum fits: what short documents leave goes to the others.
  std::vector<size_t> lengths;
  for (const TokenSpan document : some) lengths.push_back(document.size());
  std::ranges::sort(lengths);
  auto left = static_cast<size_t>(std::max<int64_t>(0, max_tokens));
  size_t cut = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    cut = std::min(lengths[i], left / (lengths.size() - i));
    left -= cut;
  }
  for (TokenSpan& document : some) document = document.first(std::min(cut, document.size()));
  std::erase_if(some, [](TokenSpan document) { return document.empty(); });
  return some;
}

absl::StatusOr<HiddenMean> HiddenMean::Create(std::shared_ptr<const Model> model,
                                              ThreadPool* pool) {
  const int window = std::min<int>(model->config().context_length, kChunkPositions);
  const TensorType type = KvCache::CheckType(TensorType::kF16, model->config()).ok()
                              ? TensorType::kF16
                              : TensorType::kF32;
  ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache,
                   KvCache::Create(model->config(), {.type = type, .context_length = window}));
  return HiddenMean(std::move(model), pool, std::move(cache));
}

HiddenMean::HiddenMean(std::shared_ptr<const Model> model, ThreadPool* pool,
                       std::unique_ptr<KvCache> cache)
    : model_(std::move(model)),
      window_(std::min<int64_t>(model_->config().context_length, kChunkPositions)),
      no_adapters_(std::make_unique<AdapterSet>(model_, /*exact=*/false)),
      cache_(std::move(cache)),
      forward_(std::make_unique<ForwardPass>(model_, /*exact=*/false, pool)),
      sum_(static_cast<size_t>(model_->config().embedding_length)) {
  no_adapters_->Prepare(pool);
}

void HiddenMean::ReadWindow() {
  const auto size = static_cast<int64_t>(tokens_.size());
  // A window too short to settle still counts by its last position.
  const int64_t first = std::min(kUnsettled, size - 1);
  const ConstMatrix hidden =
      forward_->Norm(forward_->Run(tokens_, 0, first, *no_adapters_, *cache_));
  for (int64_t t = 0; t < hidden.rows; ++t) {
    for (size_t c = 0; c < sum_.size(); ++c) sum_[c] += hidden.row(t)[c];
  }
  count_ += hidden.rows;
  tokens_.clear();
}

absl::StatusOr<std::vector<float>> HiddenMean::Read(std::span<const TokenSpan> documents) {
  for (const TokenSpan document : documents) {
    for (const TokenId id : document) {
      if (id < 0 || id >= model_->config().vocabulary_size) {
        return absl::InvalidArgumentError(absl::StrCat(
            "token id: expected 0 to ", model_->config().vocabulary_size - 1, ", got ", id));
      }
    }
  }
  std::ranges::fill(sum_, 0.0);
  count_ = 0;
  const std::optional<TokenId> start = bos();
  for (const TokenSpan document : documents) {
    for (const TokenId id : document) {
      if (tokens_.empty() && start && window_ > 1) tokens_.push_back(*start);
      tokens_.push_back(id);
      if (static_cast<int64_t>(tokens_.size()) == window_) ReadWindow();
    }
  }
  if (count_ == 0 ? !tokens_.empty() : tokens_.size() >= kLeastRest) ReadWindow();
  tokens_.clear();
  if (count_ == 0) {
    return absl::InvalidArgumentError("hidden states: expected at least one token, got none");
  }
  std::vector<float> mean(sum_.size());
  for (size_t c = 0; c < mean.size(); ++c) {
    mean[c] = static_cast<float>(sum_[c] / static_cast<double>(count_));
  }
  return mean;
}

}  // namespace lorikeet
