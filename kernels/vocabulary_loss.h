// The token loss over a large vocabulary and its gradient with respect to the hidden states, for
// fast training: the [S, V] logits are never held.
//
// The vocabulary is gone through once, a slab of some thousand rows of the output weights at a
// time: logits of the slab by MatMulFast, exponentials relative to the largest logit so far, and
// these times the slab's weights added to d_x by MatMulFastBackward; what was added before shrinks
// when a larger logit appears (the online softmax of Milakov and Gimelshein 2018, arXiv:1805.02867,
// with values as in FlashAttention).  The target takes part in none of that: its probability and
// its weights enter at the end in floats, so that the gradient of a row whose target is almost
// certain is as exact, relative to itself, as any other.
//
// The error is that of those two products (float weights: of sums in f32).  Exact training uses
// softmax_xent.h.  Nothing allocates; results depend on the ISA, not on the number of threads.
#ifndef LORIKEET_KERNELS_VOCABULARY_LOSS_H_
#define LORIKEET_KERNELS_VOCABULARY_LOSS_H_

#include <cstdint>
#include <functional>

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

struct VocabularyLossArgs {
  ConstMatrix x;                     // [S, C] normalized hidden states of the scored rows
  WeightView output;                 // [V, C]
  const int32_t* targets = nullptr;  // [S], 0 <= target < V
  const float* weights = nullptr;    // [S] factor of each row's gradient; unused for loss only
  // [S] receives -log softmax(x output^T)[target], nats, unweighted; NaN for a row of x, or a
  // target's logit, that is not finite, and where any logit is NaN or larger than all floats.
  float* nll = nullptr;
  // [S, C], overwritten with weights * d nll / d x (NaN where nll is); null data: loss only.
  Matrix d_x;
  uint8_t* scratch = nullptr;  // VocabularyLossBytes(S, C, V, d_x.data != nullptr), any alignment
  // Called on the calling thread after every product (a few ms), or null: to pause or to stop time.
  const std::function<void()>* between = nullptr;
};

// Bytes of scratch for that many rows or fewer, hidden size and rows of output weights; a few MB.
int64_t VocabularyLossBytes(int64_t rows, int64_t width, int64_t vocabulary, bool backward);

// REQUIRES: V >= 2; d_x aliases nothing.
void VocabularyLoss(const VocabularyLossArgs& args, ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_VOCABULARY_LOSS_H_
