// Gradients of the weights themselves, for training all of a model.
//
// Not here: of a linear layer's matrix, d_W [OC, C] += d_y^T x, which is GemmTN(d_y, x, d_W, 1,
// true) of matmul.h (of the vocabulary projection chunk by chunk, with d_logits for d_y); of a
// norm's gain, RmsNormBackwardWeight of rmsnorm.h.  A null pool means the calling thread only;
// results do not depend on the number of threads.
#ifndef LORIKEET_KERNELS_WEIGHT_GRADIENTS_H_
#define LORIKEET_KERNELS_WEIGHT_GRADIENTS_H_

#include <cstdint>

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// d_bias [OC] += the sum of the rows of d_y [T, OC].
void BiasBackward(ConstMatrix d_y, float* d_bias, ThreadPool* pool);

// d_table[tokens[t]] += d_x[t], in the order of t.  d_x [T, C]; tokens [T]; d_table [V, C].
// REQUIRES: 0 <= tokens[t] < V.
void EmbeddingBackward(const int32_t* tokens, ConstMatrix d_x, Matrix d_table, ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_WEIGHT_GRADIENTS_H_
