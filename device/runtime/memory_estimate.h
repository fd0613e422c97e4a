// How much memory a session will need, before any of it is taken.
#ifndef LORIKEET_DEVICE_RUNTIME_MEMORY_ESTIMATE_H_
#define LORIKEET_DEVICE_RUNTIME_MEMORY_ESTIMATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "common/base/tensor_type.h"
#include "device/model/model.h"

namespace lorikeet {

struct MemoryQuestion {
  int context_length = 0;
  TensorType kv_type = TensorType::kF16;
  bool exact = false;  // float activations
};

// Bytes.  Adapters are not part of it.
struct MemoryEstimate {
  int64_t file = 0;         // mapped: the system may drop and read it again
  int64_t cache = 0;        // keys and values once the context is full
  int64_t activations = 0;  // of a prompt of a chunk or more, and one row of logits

  int64_t anonymous() const { return cache + activations; }
  int64_t total() const { return file + anonymous(); }
};

// REQUIRES: KvCache::CheckType is OK.
MemoryEstimate EstimateMemory(const Model& model, const MemoryQuestion& question);

// The least of physical memory and the limits of the control groups that this process is in.
int64_t MemoryLimitBytes();

// RESOURCE_EXHAUSTED, with all figures, if the anonymous part does not fit `limit_bytes`.
absl::Status CheckMemory(const MemoryEstimate& estimate, int context_length, int64_t limit_bytes);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_MEMORY_ESTIMATE_H_
