// Softmax and the token loss on rows of logits.
#ifndef LORIKEET_KERNELS_SOFTMAX_XENT_H_
#define LORIKEET_KERNELS_SOFTMAX_XENT_H_

#include <cstdint>

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// nll[t] = -log softmax(logits[t])[targets[t]], nats, unweighted.  logits [T, V]; targets, nll [T].
void CrossEntropy(ConstMatrix logits, const int32_t* targets, float* nll, ThreadPool* pool);

// The same, and logits become d_logits = weights[t] * (softmax(logits[t]) - onehot(targets[t])), in
// place.
void CrossEntropyBackward(Matrix logits, const int32_t* targets, const float* weights, float* nll,
                          ThreadPool* pool);

// p = softmax(p) in place; numerically stable.
void Softmax(float* p, int64_t n);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SOFTMAX_XENT_H_
