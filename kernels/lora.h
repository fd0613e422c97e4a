// Low-rank updates beside a frozen weight: y += s B (A x), and the core kind y += s B (R (A x));
// and their gradients.
//
// Letters: x [T, C]; A [R, C]; B [OC, R]; core [R, R]; y [T, OC]; scratch [T, R] is the caller's.
// All outputs are added to, but hidden states (h, g) and scratch, which are overwritten.
#ifndef LORIKEET_KERNELS_LORA_H_
#define LORIKEET_KERNELS_LORA_H_

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// h [T, R] = x A^T is kept for the backward pass.
void LoraForward(ConstMatrix x, ConstMatrix a, ConstMatrix b, float scale, Matrix h, Matrix y,
                 ThreadPool* pool);

struct LoraBackwardArgs {
  ConstMatrix x, a, b;
  ConstMatrix h;    // from the forward pass
  ConstMatrix d_y;  // [T, OC]
  float scale = 1.0f;
  Matrix d_h;  // scratch [T, R]
  Matrix d_a;  // [R, C], or empty (data null): not wanted
  Matrix d_b;  // [OC, R], or empty
  Matrix d_x;  // [T, C], or empty
};
void LoraBackward(const LoraBackwardArgs& args, ThreadPool* pool);

// h [T, R] = x A^T and g [T, R] = h core^T; y += s g B^T.
void CoreForward(ConstMatrix x, ConstMatrix a, ConstMatrix core, ConstMatrix b, float scale,
                 Matrix h, Matrix g, Matrix y, ThreadPool* pool);

struct CoreBackwardArgs {
  ConstMatrix a, core, b;
  ConstMatrix h;  // from the forward pass
  ConstMatrix d_y;
  float scale = 1.0f;
  Matrix d_g, d_h;  // scratch [T, R]
  Matrix d_core;    // [R, R], or empty
  Matrix d_x;       // [T, C], or empty
};
void CoreBackward(const CoreBackwardArgs& args, ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_LORA_H_
