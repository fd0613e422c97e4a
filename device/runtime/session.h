// Forward passes with a KV cache: the inference half of the runtime.
//
// A Session is one conversation: it owns the cache and scratch, borrows the model and adapters. Not
// thread-safe; it uses the given pool.
#ifndef LORIKEET_DEVICE_RUNTIME_SESSION_H_
#define LORIKEET_DEVICE_RUNTIME_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/tensor_type.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/runtime/adapter_set.h"
#include "device/runtime/memory_estimate.h"
#include "kernels/views.h"

namespace lorikeet {

// kExact: float activations.  kFast: activations may be rounded to 8 bit where the weights are
// quantized, and adapters as the weights beside them.
enum class Precision { kExact, kFast };

struct SessionOptions {
  int context_length = 0;  // positions the cache holds; 0 = the model's own
  Precision precision = Precision::kFast;
  // Of cached keys and values: F32, F16 or Q8_0.  Not given: see DefaultKvType.
  std::optional<TensorType> kv_type = std::nullopt;
};

// F32 where the precision is exact or the model's own weights are F32, else F16.
TensorType DefaultKvType(const Model& model, Precision precision);

// What a change of adapters does to the positions that were computed with the ones before.
enum class CachedPositions {
  kForget,  // position() becomes 0
  kKeep,    // they stay as they are: what follows continues a text that other adapters read
};

class Session {
 public:
  // INVALID_ARGUMENT: context not positive, or a cache type that cannot hold this model's heads.
  // RESOURCE_EXHAUSTED: the session would need more memory than the machine or its control group
  // has (memory_estimate.h).
  static absl::StatusOr<std::unique_ptr<Session>> Create(std::shared_ptr<const Model> model,
                                                         ThreadPool* pool,
                                                         const SessionOptions& options);
  virtual ~Session() = default;

  // Replaces the active adapters (borrowed until replaced or removed).  Errors as
  // Model::CheckAdapter; the adapters are those of before then.  The cache is cleared.
  virtual absl::Status SetAdapters(std::span<const AdapterRef> adapters) = 0;
  // One more, one less, another scale; the base and the other adapters are not touched.
  // NOT_FOUND: a handle that is not active.
  virtual absl::StatusOr<AdapterHandle> AddAdapter(const AdapterRef& adapter,
                                                   CachedPositions cached) = 0;
  virtual absl::Status RemoveAdapter(AdapterHandle handle, CachedPositions cached) = 0;
  virtual absl::Status ScaleAdapter(AdapterHandle handle, float scale, CachedPositions cached) = 0;

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

  // What it was predicted to need when it was created.
  virtual const MemoryEstimate& estimate() const = 0;

  virtual int position() const = 0;
  // The tokens at positions [0, position()).
  virtual std::span<const TokenId> tokens() const = 0;
  virtual int context_length() const = 0;
  virtual const Model& model() const = 0;
  // Drops positions >= `position`.  REQUIRES: position <= position().
  virtual void Rewind(int position) = 0;
  // Prefix reuse: drops what differs from the beginning of `prompt` and returns the rest of it,
  // which is left to Decode (at least one token, so that there are logits; empty if `prompt` is).
  virtual std::span<const TokenId> Reuse(std::span<const TokenId> prompt) = 0;

  // Writes tokens and cache to `path` (session_file.h), or takes them from it in place of what is
  // cached.  Errors as WriteSessionFile and ReadSessionFile (the cache is empty then).
  // FAILED_PRECONDITION to save what other adapters than the active ones have computed.
  virtual absl::Status Save(const std::string& path) = 0;
  virtual absl::Status Load(const std::string& path) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_SESSION_H_
