// The mean hidden state of a model that reads documents.
//
// Documents are cut and packed behind each other into windows of up to 256 positions; each window
// is one forward pass.  A document is read after those before it, on purpose: that is more context
// to tell a manner by, and it is cheap.  Not for losses: those must not see other documents.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_HIDDEN_MEAN_H_
#define LORIKEET_DEVICE_PERSONALIZATION_HIDDEN_MEAN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/runtime/adapter_set.h"
#include "device/runtime/forward.h"
#include "device/runtime/kv_cache.h"

namespace lorikeet {

using TokenSpan = std::span<const TokenId>;

// Beginnings of the documents, of equal length but where a document is shorter, of `max_tokens`
// tokens in all.  Where that leaves fewer than 12 tokens a document, fewer documents: evenly spread
// over the list.  Empty documents are left out.
std::vector<TokenSpan> ShareTokens(std::span<const TokenSpan> documents, int64_t max_tokens);

// Not thread-safe; borrows the pool (may be null).  Movable.
class HiddenMean {
 public:
  // RESOURCE_EXHAUSTED: no memory for one window.
  static absl::StatusOr<HiddenMean> Create(std::shared_ptr<const Model> model, ThreadPool* pool);

  // Positions of a window: the model's context, at most 256.
  int64_t window() const { return window_; }

  std::optional<TokenId> bos() const { return model_->tokenizer().bos(); }

  // Mean over all positions but the first few of each window, [C].  Documents come without BOS.  A
  // last window of a few tokens is left out where there are others.
  // INVALID_ARGUMENT: no token, or one out of range.
  absl::StatusOr<std::vector<float>> Read(std::span<const TokenSpan> documents);

 private:
  HiddenMean(std::shared_ptr<const Model> model, ThreadPool* pool, std::unique_ptr<KvCache> cache);

  // Adds the hidden states of one window's positions to sum_; clears the window.
  void ReadWindow();

  std::shared_ptr<const Model> model_;
  int64_t window_;
  std::unique_ptr<AdapterSet> no_adapters_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<ForwardPass> forward_;
  std::vector<TokenId> tokens_;  // of the window that is being filled
  std::vector<double> sum_;      // [C]
  int64_t count_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_HIDDEN_MEAN_H_
