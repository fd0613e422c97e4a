// Adapters folded into the weights of their base: a model that needs no adapter any more.
//
// W' = W + sum of scale * alpha / rank * B A (B R A for kind core), each matrix rounded again to
// its own type or another.  The result is a base of its own, with another fingerprint.  Not here:
// the sum of adapters as an adapter (common/adapter/sum.h).
#ifndef LORIKEET_DEVICE_MODEL_MERGE_H_
#define LORIKEET_DEVICE_MODEL_MERGE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/thread_pool.h"
#include "device/model/file_type.h"
#include "device/model/model.h"
#include "device/model/requantize.h"

namespace lorikeet {

struct MergeOptions {
  std::span<const AdapterRef> adapters;
  std::optional<FileType> type;  // none: every tensor keeps its own
};

// Writes `path` piece by piece (RewriteWeights).  The result does not depend on the number of
// threads.  Errors of Model::CheckAdapter and RewriteWeights; INVALID_ARGUMENT without adapters.
absl::StatusOr<Requantized> MergeIntoBase(
    const Model& model, const MergeOptions& options, const std::string& path, ThreadPool* pool,
    const std::function<void(int64_t done, int64_t total)>& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_MERGE_H_
