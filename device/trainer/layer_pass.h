// One transformer layer, forward and backward, over a batch laid out along T; base weights frozen,
// adapters active.
//
// Not here: embedding, output norm, vocabulary loss and the order of layers (gradient.cc).
#ifndef LORIKEET_DEVICE_TRAINER_LAYER_PASS_H_
#define LORIKEET_DEVICE_TRAINER_LAYER_PASS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/trainer/batch_layout.h"
#include "device/trainer/gradient.h"
#include "kernels/attention.h"
#include "kernels/views.h"

namespace lorikeet {

// Memory for one matrix that is used again and again; grows, never shrinks.
class Buffer {
 public:
  // A [rows, cols] view; content unspecified after growth, else kept.
  Matrix Shape(int64_t rows, int64_t cols);
  Matrix Zeros(int64_t rows, int64_t cols);
  int64_t bytes() const { return static_cast<int64_t>(values_.size() * sizeof(float)); }

 private:
  std::vector<float> values_;
};

// One adapter on one weight.  Borrows the factors.
struct ActiveMatrix {
  ConstMatrix a;     // [R, in]
  ConstMatrix b;     // [out, R]; B R for a frozen core
  ConstMatrix core;  // [R, R] for a trained core, else no data
  float scale = 1.0f;
  MatrixGradient* gradient = nullptr;  // zeroed, of the right size; null: frozen
};
// By Module.
using LayerAdapters = std::array<std::vector<ActiveMatrix>, kModuleCount>;

// What Backward needs of Forward besides the layer's input.
struct LayerActivations {
  Buffer normed, q, k, v, attended, log_sum_exp, middle, ffn_normed, gate, up, gated;
  std::array<std::vector<Buffer>, kModuleCount> hidden;  // A x per adapter
  int layer_index = -1;                                  // whose they are; -1: nobody's

  int64_t bytes() const;
};

// How far down the gradient of a layer is wanted.
enum class BackwardReach {
  kFeedForward,  // only gate, up, down are trained here, nothing below
  kAttention,    // to the trained matrices, but not to the layer's input
  kInput,        // to the layer's input
};

// Not thread-safe.
class LayerPass {
 public:
  LayerPass(const Model& model, ThreadPool* pool);

  // Must be called before the passes over a batch; `layout` is borrowed until the next call.
  void Begin(const BatchLayout& layout);

  // x [T, C] -> out [T, C] (may be x).  Null out.data: only the activations are wanted.
  void Forward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
               LayerActivations& activations, Matrix out);

  // d_x holds d loss / d out and receives d loss / d x when reach is kInput (unspecified
  // otherwise); gradients of trained matrices are added to.  Uses up the activations.  REQUIRES:
  // activations of Forward of this layer and x.
  void Backward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
                LayerActivations& activations, BackwardReach reach, Matrix d_x);

  int64_t bytes() const;

 private:
  struct LinearArgs {
    const WeightView& weight;
    const std::vector<ActiveMatrix>& adapters;
    std::vector<Buffer>& hidden;
  };
  LinearArgs Linear(int layer_index, Module module, const LayerAdapters& adapters,
                    LayerActivations& activations) const;
  void LinearForward(const LinearArgs& args, ConstMatrix x, const float* bias, Matrix y);
  // d_x may have no data: not wanted.
  void LinearBackward(const LinearArgs& args, ConstMatrix x, ConstMatrix d_y, Matrix d_x);
  void AttentionForward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
                        LayerActivations& activations);
  void FeedForwardBackward(int layer_index, const LayerAdapters& adapters,
                           LayerActivations& activations, bool wants_input, Matrix d_x);
  AttentionShape Shape() const;

  const Model& model_;
  ThreadPool* pool_;
  const BatchLayout* layout_ = nullptr;
  Buffer rope_table_;
  // Scratch of the backward pass.
  Buffer d_normed_, d_gated_, d_attended_, d_q_, d_k_, d_v_, delta_, d_hidden_, core_hidden_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_LAYER_PASS_H_
