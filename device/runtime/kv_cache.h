// Keys and values of the positions that a session has seen, for every layer, as F32, F16 or Q8_0.
//
// Memory is reserved for the whole context and costs nothing until a position is stored.  Rows of
// one kv head follow each other.
#ifndef LORIKEET_DEVICE_RUNTIME_KV_CACHE_H_
#define LORIKEET_DEVICE_RUNTIME_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/tensor_type.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/runtime/scratch.h"
#include "kernels/cached_attention.h"
#include "kernels/views.h"

namespace lorikeet {

struct KvCacheOptions {
  TensorType type = TensorType::kF16;
  int context_length = 0;  // positions; >= 1
};

// Not thread-safe.
class KvCache {
 public:
  // INVALID_ARGUMENT: a type that cannot hold this model's heads.  RESOURCE_EXHAUSTED: the system
  // does not give the memory.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(const ModelConfig& config,
                                                         const KvCacheOptions& options);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // OK if a cache of `type` can hold heads of this model.
  static absl::Status CheckType(TensorType type, const ModelConfig& config);
  // Bytes of one position over all layers.  REQUIRES: CheckType is OK.
  static int64_t PositionBytes(TensorType type, const ModelConfig& config);
  // Bytes that Attend takes for up to `rows` queries of up to `context_length` positions.
  static int64_t ScratchBytes(const ModelConfig& config, int64_t rows, int64_t context_length);

  // Rows [T, kv heads * head size] of positions [position, position + T).
  void Store(int layer, int64_t position, ConstMatrix keys, ConstMatrix values, ThreadPool* pool);
  // attended, queries [T, heads * head size]; query t stands at position + t and sees all positions
  // up to its own.
  void Attend(int layer, int64_t position, ConstMatrix queries, Matrix attended, ThreadPool* pool);

  TensorType type() const { return type_; }
  // Stretches of memory that hold the cache, 2 * layers * kv heads, the same for every cache of
  // this type and model: each holds rows of `row_bytes`, position after position.
  int64_t stretches() const { return stretches_; }
  int64_t row_bytes() const { return row_bytes_; }
  std::span<uint8_t> Stretch(int64_t index, int64_t positions) {
    return {data_ + index * stretch_bytes_, static_cast<size_t>(positions * row_bytes_)};
  }

 private:
  KvCache(const ModelConfig& config, const KvCacheOptions& options);
  CacheView View(int layer, bool values) const;

  TensorType type_;
  AttentionShape shape_;
  int64_t row_bytes_ = 0;
  int64_t stretch_bytes_ = 0;
  int64_t stretches_ = 0;
  uint8_t* data_ = nullptr;
  Scratch<uint8_t> scratch_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_KV_CACHE_H_
