// Reverse-mode gradients of the token loss with respect to adapters on a frozen, possibly quantized
// base, or to all weights of an F32 one.
//
// Each layer's input is kept and the layer is computed again in the backward pass (but for the last
// layers, as many as MemoryPlan keeps); the vocabulary loss never holds [T, V]: exact, it goes
// through some rows at a time; fast, through slabs of the vocabulary.  All sequences of a batch,
// and of several learners, go through each weight in one product; attention stays inside each
// sequence.
#ifndef LORIKEET_DEVICE_TRAINER_GRADIENT_H_
#define LORIKEET_DEVICE_TRAINER_GRADIENT_H_

#include <array>
#include <cstdint>
#include <functional>
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

// Gradients of a base's own weights, shaped like them; the caller's memory, added to.
struct LayerWeightGradients {
  std::array<Matrix, kModuleCount> weights;
  float* attention_norm = nullptr;  // [C]
  float* ffn_norm = nullptr;        // [C]
  float* bias_q = nullptr;          // null where the base has none
  float* bias_k = nullptr;
  float* bias_v = nullptr;
};
struct ModelGradients {
  Matrix token_embedding;  // [vocabulary, C]
  Matrix output;           // [vocabulary, C]; the same memory where the output is tied
  float* output_norm = nullptr;
  std::vector<LayerWeightGradients> layers;
};

struct GradientResult {
  double loss_sum = 0;    // sum of mask * nll over all sequences, nats
  double weight_sum = 0;  // sum of mask entries that count
  double loss() const { return weight_sum > 0 ? loss_sum / weight_sum : 0; }
};

enum class TrainPrecision {
  kExact,  // float activations and gradients: golden gradients to 1e-4
  kFast,   // both rounded to 8 bit per 32 where they meet quantized weights, as in generation
};

// How the engine trades memory for time.  Results do not depend on it, but for rounding where
// vocabulary_rows cuts a fast batch.
struct EngineMemory {
  int kept_layers = 0;            // of the last ones, whose activations are not computed again
  int64_t vocabulary_rows = 512;  // positions whose loss is computed at a time
};

struct GradientEngineOptions {
  TrainPrecision precision = TrainPrecision::kExact;
  EngineMemory memory = {};
  // Called on the calling thread after every product of a layer and between pieces of the
  // vocabulary loss; may wait (the platform pauses training).  What it returns, if not OK, is
  // returned by Compute, at the latest when the layer is done.
  std::function<absl::Status()> pause_point = nullptr;
};

// One adapter's part of a computation.  Borrows.  No `trained`: the frozen ones alone, or the base.
struct LearnerBatch {
  const Adapter* trained = nullptr;
  std::span<const AdapterRef> frozen = {};
  std::span<const Sequence> batch = {};
  // One entry per matrix of `trained`, resized; null: loss only.
  std::vector<MatrixGradient>* gradients = nullptr;
  // The result's parts, one entry per sequence, resized; null: not wanted.  A sequence in which
  // nothing counts has zeros.
  std::vector<GradientResult>* per_sequence = nullptr;
};

// Not thread-safe; uses the given pool.  Deterministic for a fixed ISA.
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
  absl::StatusOr<GradientResult> Compute(const Adapter& trained, std::span<const AdapterRef> frozen,
                                         std::span<const Sequence> batch,
                                         std::vector<MatrixGradient>* gradients);

  // The same for several learners at once: one pass over the base's weights for all of them, each
  // with its own adapters, sequences and gradients.
  virtual absl::StatusOr<std::vector<GradientResult>> ComputeMany(
      std::span<const LearnerBatch> learners) = 0;

  // Gradients of all weights, without adapters.  FAILED_PRECONDITION: the base's matrices are not
  // F32, or the precision is kFast.
  virtual absl::StatusOr<GradientResult> ComputeAll(std::span<const Sequence> batch,
                                                    const ModelGradients& gradients) = 0;

  // Bytes held now for the largest batch so far; the mapped model is not counted.
  virtual int64_t working_set_bytes() const = 0;
};

struct MemoryPlan {
  EngineMemory memory;
  int64_t engine_bytes = 0;  // working_set_bytes() with it
  int64_t least_bytes = 0;   // the least that any plan needs
};

// The fastest plan for batches of up to `rows` positions (of all learners together) within
// `limit_bytes`; 0: the frugal one, every layer computed again.  Where even the least does not fit,
// that one is returned (engine_bytes == least_bytes > limit).  `trained` without matrices: for
// ComputeAll.  Errors as CheckAdapter.
absl::StatusOr<MemoryPlan> PlanMemory(const std::shared_ptr<const Model>& model,
                                      const Adapter& trained, std::span<const AdapterRef> frozen,
                                      int64_t rows, TrainPrecision precision, int64_t limit_bytes);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_GRADIENT_H_
