// A model's matrices in other tensor types, and edited on the way: `lorikeet quantize`, and what
// merge.h builds on.
//
// Matrices are dequantized and rounded again, each to the type that file_type.h gives it; norms,
// biases and rope_freqs keep theirs.  Metadata is copied, general.file_type and
// general.quantization_version set.
#ifndef LORIKEET_DEVICE_MODEL_REQUANTIZE_H_
#define LORIKEET_DEVICE_MODEL_REQUANTIZE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/tensor_type.h"
#include "common/base/thread_pool.h"
#include "common/gguf/reader.h"
#include "device/model/file_type.h"

namespace lorikeet {

struct Requantized {
  uint64_t bytes = 0;  // of the file written
  double rmse = 0;     // over all numbers that were rounded, against the input
  int tensors_changed = 0;
  std::map<TensorType, int> matrices;  // in the output, by type
};

// Writes `path` piece by piece; it may be the input's own path.  The result does not depend on the
// number of threads.  `progress` (may be empty) is called with numbers rounded and in all.
// INVALID_ARGUMENT: an adapter or catalog instead of a model, a matrix with values that are not
// finite or too large for half floats.
absl::StatusOr<Requantized> Requantize(
    const GgufFile& model, FileType type, const std::string& path, ThreadPool* pool,
    const std::function<void(int64_t done, int64_t total)>& progress = nullptr);

// What changes weights on their way into the new file.
struct WeightEdit {
  std::function<bool(std::string_view tensor)> applies;
  // Changes one row of a tensor that it applies to.  Called from several threads.
  std::function<void(std::string_view tensor, int64_t row, std::span<float> values)> apply;
};
struct RewriteOptions {
  std::optional<FileType> type;  // none: every tensor keeps its own, and the file its file_type
  WeightEdit edit;
};
// Requantize with an edit; tensors that keep their type and are not edited are copied.  The rmse is
// against the edited values.  INVALID_ARGUMENT also: an edited tensor of a type that cannot be
// written.
absl::StatusOr<Requantized> RewriteWeights(
    const GgufFile& model, const RewriteOptions& options, const std::string& path, ThreadPool* pool,
    const std::function<void(int64_t done, int64_t total)>& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_REQUANTIZE_H_
