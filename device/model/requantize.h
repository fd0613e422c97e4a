// A model's matrices in another tensor type: `lorikeet quantize`.
//
// Matrices (two dimensions, rows that are whole blocks of the new type) are dequantized and rounded
// again; norms, biases, rope_freqs and rows that do not fit keep their type.  Metadata is copied,
// general.file_type updated where it is there.
#ifndef LORIKEET_DEVICE_MODEL_REQUANTIZE_H_
#define LORIKEET_DEVICE_MODEL_REQUANTIZE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/tensor_type.h"
#include "common/base/thread_pool.h"
#include "common/gguf/reader.h"
#include "common/gguf/writer.h"

namespace lorikeet {

struct Requantized {
  GgufWriter file;
  double rmse = 0;  // over all numbers that were rounded, against the input
  int tensors_changed = 0;
  int tensors_kept = 0;  // matrices whose rows are not whole blocks
};

// INVALID_ARGUMENT: a type that cannot be written (names those that can), an adapter or catalog
// instead of a model, or a matrix with values that are not finite.  `progress` (may be empty) is
// called with tensors done and in all.
absl::StatusOr<Requantized> Requantize(
    const GgufFile& model, TensorType type, ThreadPool* pool,
    const std::function<void(int done, int total)>& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_REQUANTIZE_H_
