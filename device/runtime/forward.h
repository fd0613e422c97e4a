// The layers of a model over a key/value cache: token ids in, the residual stream and logits out.
//
// Fast arithmetic rounds the input of products once and multiplies all weights of that input in one
// pass of the pool: four products and the attention a layer.  Exact arithmetic keeps floats.
// Not here: positions, which tokens are cached, limits (session.cc).
#ifndef LORIKEET_DEVICE_RUNTIME_FORWARD_H_
#define LORIKEET_DEVICE_RUNTIME_FORWARD_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/runtime/adapter_set.h"
#include "device/runtime/kv_cache.h"
#include "device/runtime/scratch.h"
#include "kernels/views.h"

namespace lorikeet {

// Positions computed together: enough that what is unpacked of the weights is used many times, few
// enough that activations stay small beside a cache.
inline constexpr int kChunkPositions = 256;

// Not thread-safe.  Borrows the pool (may be null).
class ForwardPass {
 public:
  ForwardPass(std::shared_ptr<const Model> model, bool exact, ThreadPool* pool);

  // Bytes of scratch for up to `rows` positions, adapters not counted.
  static int64_t ScratchBytes(const ModelConfig& config, bool exact, int64_t rows);

  // Stores keys and values of `tokens` (1 to kChunkPositions) at `position` and behind, and returns
  // the residual stream after the last layer of tokens[first..], [n - first, C]; 0 <= first <= n.
  // The view holds until the next call.  REQUIRES: adapters prepared, ids in range.
  Matrix Run(std::span<const TokenId> tokens, int position, int64_t first,
             const AdapterSet& adapters, KvCache& cache);

  // The output norm of rows of Run's result; holds until the next call of Run or this.
  ConstMatrix Norm(ConstMatrix x);
  // logits [T, vocabulary] of normed rows.
  void Logits(ConstMatrix normed, Matrix logits);

 private:
  struct Output {
    Module module;
    Matrix y;
    const float* bias = nullptr;
    bool accumulate = false;
  };
  int64_t query_channels() const { return int64_t{config_.head_count} * config_.head_size; }
  int64_t key_channels() const { return int64_t{config_.kv_head_count} * config_.head_size; }

  void Embed(std::span<const TokenId> tokens, Matrix x);
  // Every output (of weights with the same input) y = W x + adapters + bias, or y +=.
  void Products(ConstMatrix x, int layer, ProductInput input, std::span<const Output> outputs);
  void FloatProduct(ConstMatrix x, int layer, const Output& output);
  void RoundedProducts(ConstMatrix x, int layer, ProductInput input,
                       std::span<const Output> outputs);
  // Normalizes (where the model does) and turns every head.
  void TurnHeads(Matrix x, const float* norm, ConstMatrix table);
  // x: all rows; rows [first, T) of it receive the result.
  void AttentionBlock(int layer, Matrix x, int position, int64_t first, KvCache& cache);
  void FeedForwardBlock(int layer, Matrix x);

  const std::shared_ptr<const Model> model_;
  const ModelConfig& config_;
  const bool exact_;
  ThreadPool* const pool_;
  const AdapterSet* adapters_ = nullptr;  // of the current Run

  Scratch<float> residual_, normed_, stage_, added_, hidden_, rope_table_;
  Scratch<uint8_t> rounded_;
  std::vector<int32_t> positions_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_FORWARD_H_
