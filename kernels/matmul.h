// Matrix products: activations with a (quantized) weight matrix, its transpose for the backward
// pass, and plain f32.
//
// Nothing allocates; panels of dequantized weights lie on the stack (at most 160 KiB a thread).  A
// null pool means the calling thread only.  Results depend on the ISA, not on the number of
// threads.
#ifndef LORIKEET_KERNELS_MATMUL_H_
#define LORIKEET_KERNELS_MATMUL_H_

#include <cstdint>

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// y = x W^T with float activations.  x [T, C]; w [OC, C]; y [T, OC].
// T small: fused dequantizing dot products; else panels are dequantized once and multiplied as f32.
// REQUIRES: y does not alias x; w.cols % block_elements == 0.
void MatMul(ConstMatrix x, const WeightView& w, Matrix y, ThreadPool* pool);

// d_x += d_y W.  d_y [T, OC]; w [OC, C]; d_x [T, C].
void MatMulBackwardInput(ConstMatrix d_y, const WeightView& w, Matrix d_x, ThreadPool* pool);

// C = A B (NN), A B^T (NT), A^T B (TN); `accumulate` adds to C instead.
// Shapes of the operands as stored: NN a [M, K], b [K, N];  NT a [M, K], b [N, K];  TN a [K, M], b
// [K, N];  c [M, N]. c = alpha * product (+ c).  REQUIRES: c aliases neither.
void GemmNN(ConstMatrix a, ConstMatrix b, Matrix c, float alpha, bool accumulate, ThreadPool* pool);
void GemmNT(ConstMatrix a, ConstMatrix b, Matrix c, float alpha, bool accumulate, ThreadPool* pool);
void GemmTN(ConstMatrix a, ConstMatrix b, Matrix c, float alpha, bool accumulate, ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_MATMUL_H_
