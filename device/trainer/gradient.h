// Exact reverse-mode gradients of the token loss with respect to one adapter, on a frozen, possibly
// quantized base.
//
// Weights are dequantized panel by panel; each layer's input is kept and the layer is recomputed in
// the backward pass (but for the last layers, as far as a memory budget allows to keep their
// activations); the vocabulary loss is chunked and never holds [T, V].  All sequences of a batch go
// through each weight in one product; attention stays inside each.
#ifndef LORIKEET_DEVICE_TRAINER_GRADIENT_H_
#define LORIKEET_DEVICE_TRAINER_GRADIENT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"

namespace lorikeet {

// One training example.  loss_mask[i] weighs the loss of predicting tokens[i] from those before it;
// loss_mask[0] is ignored.  Empty mask: all ones.
struct Sequence {
  std::vector<TokenId> tokens;
  std::vector<float> loss_mask;
};

// Gradients of the trained numbers of one AdapterMatrix: A and B for kLora, core for kCore (the
// others stay empty).
struct MatrixGradient {
  std::vector<float> a;
  std::vector<float> b;
  std::vector<float> core;
};

struct GradientResult {
  double loss_sum = 0;    // sum of mask * nll over all sequences, nats
  double weight_sum = 0;  // sum of mask entries that count
  double loss() const { return weight_sum > 0 ? loss_sum / weight_sum : 0; }
};

struct GradientEngineOptions {
  // Activations of the last layers are kept instead of recomputed up to this many bytes; 0: every
  // layer but the last is recomputed.  Gradients do not depend on it.
  int64_t kept_activation_bytes = int64_t{64} << 20;
};

// Not thread-safe; uses the given pool.  Deterministic for a fixed number of threads and ISA.
class GradientEngine {
 public:
  static absl::StatusOr<std::unique_ptr<GradientEngine>> Create(
      std::shared_ptr<const Model> model, ThreadPool* pool,
      const GradientEngineOptions& options = {});
  virtual ~GradientEngine() = default;

  // Loss over `batch` with `trained` and the `frozen` adapters active; d (loss_sum / weight_sum of
  // the whole batch) / d parameters into `gradients` (one entry per matrix of `trained`, resized).
  // Null `gradients`: loss only. INVALID_ARGUMENT: empty batch, token out of range, nothing to
  // learn (weight_sum = 0).  Errors as CheckAdapter. INTERNAL when the loss is not finite; the
  // message names where the first non-finite value appeared.
  virtual absl::StatusOr<GradientResult> Compute(const Adapter& trained,
                                                 std::span<const AdapterRef> frozen,
                                                 std::span<const Sequence> batch,
                                                 std::vector<MatrixGradient>* gradients) = 0;

  // Bytes of the buffers held now (they grow to the largest batch and stay); the mapped model is
  // not counted.
  virtual int64_t working_set_bytes() const = 0;
};

// Upper bound of working_set_bytes with no activations kept, for batches of up to `rows` positions,
// plus what the optimizer holds for `trained`.
int64_t EstimateWorkingSet(const Model& model, const Adapter& trained, int64_t rows);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_GRADIENT_H_
