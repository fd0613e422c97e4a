// Root-mean-square normalization, rows independent.  Source: arXiv 1910.07467.
#ifndef LORIKEET_KERNELS_RMSNORM_H_
#define LORIKEET_KERNELS_RMSNORM_H_

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// y = x / sqrt(mean(x^2) + epsilon) * weight.  x, y [T, C] (y may be x); weight [C].
void RmsNorm(ConstMatrix x, const float* weight, float epsilon, Matrix y, ThreadPool* pool);

// d_x += gradient through the norm (added: the residual stream's gradient is already there).
// x, d_y, d_x [T, C]; d_x aliases neither.
void RmsNormBackward(ConstMatrix x, const float* weight, float epsilon, ConstMatrix d_y, Matrix d_x,
                     ThreadPool* pool);

// d_weight [C] += sum over rows.
void RmsNormBackwardWeight(ConstMatrix x, float epsilon, ConstMatrix d_y, float* d_weight);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_RMSNORM_H_
