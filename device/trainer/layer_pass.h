// One transformer layer, forward and backward, over a batch laid out along T: adapters trained on
// frozen weights, or the weights themselves.
//
// Not here: embedding, output norm, vocabulary loss and the order of layers (gradient.cc).  Memory
// is the caller's arena.
#ifndef LORIKEET_DEVICE_TRAINER_LAYER_PASS_H_
#define LORIKEET_DEVICE_TRAINER_LAYER_PASS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/trainer/active_adapters.h"
#include "device/trainer/arena.h"
#include "device/trainer/batch_layout.h"
#include "device/trainer/gradient.h"
#include "kernels/attention.h"
#include "kernels/fast_matmul.h"
#include "kernels/views.h"

namespace lorikeet {

// What Backward needs of Forward besides the layer's input.
struct LayerActivations {
  Matrix q, k, v, attended, log_sum_exp, middle, gate, up;
  std::array<std::vector<Matrix>, kModuleCount> hidden;  // A x per adapter, but for down
  bool valid = false;
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
  // `between` is called after every product or attention, on the calling thread; it may wait.
  LayerPass(const Model& model, TrainPrecision precision, ThreadPool* pool,
            std::function<void()> between)
      : model_(model), precision_(precision), pool_(pool), between_(std::move(between)) {}

  // Must be called before the passes over a batch; both are borrowed until the next call.
  // rope_table [T, rope_dimensions] is filled.
  void Begin(const BatchLayout& layout, Matrix rope_table);

  LayerActivations TakeActivations(const LayerAdapters& adapters, int64_t rows, Arena& arena) const;
  // Takes and gives back what the passes below take of an arena, without doing anything else.
  void CountForward(const LayerAdapters& adapters, int64_t rows, Arena& arena) const;
  void CountBackward(const LayerAdapters& adapters, int64_t rows, Arena& arena) const;

  // x [T, C] -> out [T, C] (may be x).  Null out.data: only the activations are wanted.
  void Forward(int layer_index, const LayerAdapters& adapters, ConstMatrix x,
               LayerActivations& activations, Matrix out, Arena& arena);

  struct BackwardArgs {
    int layer_index = 0;
    const LayerAdapters& adapters;
    const LayerWeightGradients* weights = nullptr;  // null: frozen
    ConstMatrix x;                                  // the layer's input
    LayerActivations& activations;                  // of Forward of this layer and x; used up
    BackwardReach reach = BackwardReach::kInput;
    // Holds d loss / d out, receives d loss / d x when reach is kInput (else unspecified).
    Matrix d_x;
  };
  // Gradients of what is trained are added to.
  void Backward(const BackwardArgs& args, Arena& arena);

 private:
  struct ForwardScratch;
  struct BackwardScratch;
  struct FeedForwardScratch;
  struct AttentionScratch;
  // One weight's part in a backward product.
  struct LinearGradient {
    Module module;
    ConstMatrix d_y;
    uint8_t* rounded = nullptr;    // scratch for d_y rounded; null in exact precision
    std::vector<Matrix> d_hidden;  // [rows, R] per adapter
    float* bias_gradient = nullptr;
  };

  int64_t RoundedBytesOf(int64_t rows, int64_t cols) const;
  std::vector<Matrix> TakeHidden(const std::vector<ActiveMatrix>& adapters, Arena& arena) const;
  LinearGradient TakeLinear(Module module, const LayerAdapters& adapters, int64_t rows,
                            Arena& arena) const;
  // Whether products with this weight, or its transpose, use rounded activations.
  bool Rounds(const WeightView& weight) const;
  bool RoundsTransposed(const WeightView& weight) const;

  struct LinearOutput {
    Module module;
    const float* bias = nullptr;
    Matrix y;
  };
  // Products of one input; A x goes to `activations` (but of down: nowhere but into y).
  void LinearsForward(int layer_index, std::span<const LinearOutput> outputs, ConstMatrix x,
                      const LayerAdapters& adapters, LayerActivations& activations,
                      const ForwardScratch& scratch);
  // d_x = the sum over `linears` (not wanted: no data; may be x's memory); gradients added to.
  void LinearsBackward(const BackwardArgs& args, std::span<LinearGradient> linears, ConstMatrix x,
                       Matrix d_x, const BackwardScratch& scratch);
  void AdapterGradients(const BackwardArgs& args, LinearGradient& linear, ConstMatrix x);
  void AddAdaptersInput(const BackwardArgs& args, const LinearGradient& linear, Matrix d_x,
                        const BackwardScratch& scratch);
  void FeedForwardBackward(const BackwardArgs& args, BackwardScratch& scratch, Arena& arena);
  void AttentionBackward(const BackwardArgs& args, BackwardScratch& scratch, Arena& arena);
  AttentionShape Shape() const;
  int64_t QWidth() const;
  int64_t KvWidth() const;

  const Model& model_;
  TrainPrecision precision_;
  ThreadPool* pool_;
  std::function<void()> between_;
  const BatchLayout* layout_ = nullptr;
  Matrix rope_table_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_LAYER_PASS_H_
