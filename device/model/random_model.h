// GGUF models of a given shape with random weights: for benchmarks (speed and memory depend on
// shapes and types, not on what the numbers say), or to train from scratch.  Nothing such a model
// writes means anything.
#ifndef LORIKEET_DEVICE_MODEL_RANDOM_MODEL_H_
#define LORIKEET_DEVICE_MODEL_RANDOM_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "common/gguf/reader.h"
#include "device/model/file_type.h"

namespace lorikeet {

struct ModelShape {
  std::string architecture = "llama";  // or qwen2 (biases), qwen3 (norms of queries and keys)
  int layers = 1;
  int embedding = 64;
  int heads = 1;
  int kv_heads = 1;
  int head_size = 64;
  int ffn = 128;
  int vocabulary = 1024;
  bool tied = true;
  bool rope_factors = false;  // rope_freqs.weight, as Llama 3.1 and later have it
  int context = 4096;
  float rope_base = 10000.0f;
};

// Published models by name, e.g. "qwen2.5-0.5b".
std::optional<ModelShape> FindModelShape(std::string_view name);
// "qwen2.5-0.5b, ..." for help and error messages.
std::string ModelShapeNames();

enum class WeightInit {
  // Matrices with rows of C values are N(0, 1/C), drawn with repetition from a pool of rounded
  // pieces: fast, and activations keep their size.  Norms are about 1, biases about 0.
  kMeasuring,
  // Where training starts (GPT-2, Radford et al. 2019, section 2.3): matrices N(0, 0.02^2), those
  // that add to the residual stream (attn_output, ffn_down) scaled by 1 / sqrt(2 layers); norms are
  // 1, biases 0.
  kTraining,
};

struct RandomModelOptions {
  ModelShape shape;
  WeightInit init = WeightInit::kMeasuring;
  FileType type = FileType::kF16;
  // Copied from here, padded to shape.vocabulary; null: a small synthetic byte-level vocabulary.
  std::shared_ptr<const GgufFile> vocabulary;
  uint64_t seed = 1;
};

// Writes the file piece by piece; its bytes.  The same seed and shape give the same weights in each
// type, before rounding, whatever the threads.
// INVALID_ARGUMENT: a shape that no model has, or a vocabulary that is too large for it.
absl::StatusOr<uint64_t> WriteRandomModel(
    const RandomModelOptions& options, const std::string& path, ThreadPool* pool,
    const std::function<void(int64_t done, int64_t total)>& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_RANDOM_MODEL_H_
