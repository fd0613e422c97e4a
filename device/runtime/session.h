// Forward passes with a KV cache: the inference half of the runtime.
//
// A Session is one conversation: it owns the cache and scratch, borrows the model and adapters. Not
// thread-safe; it uses the given pool.
#ifndef LORIKEET_DEVICE_RUNTIME_SESSION_H_
#define LORIKEET_DEVICE_RUNTIME_SESSION_H_

#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "kernels/views.h"

namespace lorikeet {

// kExact: float activations.  kFast: activations may be rounded to 8 bit where the weights are
// quantized.
enum class Precision { kExact, kFast };

struct SessionOptions {
  int context_length = 0;  // positions the cache holds; 0 = the model's own
  Precision precision = Precision::kFast;
};

class Session {
 public:
  // INVALID_ARGUMENT: context longer than memory allows, or not positive.
  static absl::StatusOr<std::unique_ptr<Session>> Create(std::shared_ptr<const Model> model,
                                                         ThreadPool* pool,
                                                         const SessionOptions& options);
  virtual ~Session() = default;

  // Replaces the active adapters (borrowed until replaced).  Errors as Model::CheckAdapter.  The
  // cache is cleared.
  virtual absl::Status SetAdapters(std::span<const AdapterRef> adapters) = 0;

  // Appends `tokens` at the current position.  Returns logits [rows, vocabulary] valid until the
  // next call: one row for the last token, or (all_positions) one for each token. INVALID_ARGUMENT:
  // no token, or an id out of range.  RESOURCE_EXHAUSTED: the context would overflow.
  virtual absl::StatusOr<ConstMatrix> Decode(std::span<const TokenId> tokens,
                                             bool all_positions) = 0;

  // Negative log-likelihoods (nats) of tokens[1..] given those before, starting from an empty
  // cache: size n - 1. Never holds [T, V]: logits are made in chunks.  Clears the cache first and
  // leaves it clear.
  virtual absl::StatusOr<std::vector<float>> Score(std::span<const TokenId> tokens) = 0;

  // The same for tokens[first..] only, 1 <= first < n: size n - first.  Spares the logits before
  // them.
  virtual absl::StatusOr<std::vector<float>> ScoreTail(std::span<const TokenId> tokens,
                                                       int first) = 0;

  // Hidden state after the final norm at the last decoded position, [C].
  virtual std::span<const float> last_hidden() const = 0;

  virtual int position() const = 0;
  virtual int context_length() const = 0;
  virtual const Model& model() const = 0;
  // Drops positions >= `position`.  REQUIRES: position <= position().
  virtual void Rewind(int position) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_SESSION_H_
