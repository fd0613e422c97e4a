// The runtime's matrix products: activations rounded to 8 bit once, multiplied as integers with
// quantized weights as they lie in the file, several products in one pass of the pool.  (Batches on
// AMX: both as bfloat16, which is more exact.)
//
// Weights of any TensorType; those that are not quantized are multiplied with the float
// activations.  Inference and fast training use this; exact training and inference use matmul.h.
// The error is of llama.cpp's kind (activations to 8 bit per 32 values) and not larger.  Nothing
// allocates.
// Results depend on the ISA, not on the number of threads.
#ifndef LORIKEET_KERNELS_FAST_MATMUL_H_
#define LORIKEET_KERNELS_FAST_MATMUL_H_

#include <cstdint>
#include <span>

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// The input of several products, in every form the kernels of this ISA want.  Views into the
// caller's scratch and x, both of which must outlive it.
struct RoundedActivations {
  ConstMatrix x;  // [T, C]
  // Null when C is no multiple of 32 (no quantized weight fits then), and beside bf16.
  const int8_t* q = nullptr;  // [T, q_stride]: round(x / scale), 64-byte aligned rows; -127..127
  const float* scales = nullptr;  // [T, C / 32]: largest magnitude of the 32 / 127
  const float* sums = nullptr;    // [T, C / 16]: scale * (sum of the 16 q)
  // x as bfloat16, or null where this ISA's kernel for T rows does not use it.
  const uint16_t* bf16 = nullptr;  // [T, bf16_stride], 64-byte aligned rows; 0 up to 32 n values
  int64_t q_stride = 0;
  int64_t scale_stride = 0;
  int64_t sum_stride = 0;
  int64_t bf16_stride = 0;
};

// Bytes of scratch that RoundActivations needs for [t, c] or fewer rows, whatever its alignment.
int64_t RoundedBytes(int64_t t, int64_t c);
RoundedActivations RoundActivations(ConstMatrix x, uint8_t* scratch, ThreadPool* pool);

// One product: y = x W^T + bias + h b^T, or y += that.
struct FastProduct {
  WeightView w;                 // [OC, C]
  Matrix y;                     // [T, OC]
  bool accumulate = false;      // adds to y
  const float* bias = nullptr;  // [OC] or null
  // The second half of low-rank updates, scales of the adapters already in h; empty: none.
  ConstMatrix h = {};                 // [T, R]
  MatrixView<const uint16_t> b = {};  // [OC, R] IEEE halves
};

// All products of one input; rows of their weights are shared out among the threads.
// REQUIRES: no y aliases x or another y; w.cols == C.
void MatMulFast(const RoundedActivations& x, std::span<const FastProduct> products,
                ThreadPool* pool);

// A term d_y W of the gradient of a product's input.
struct FastBackwardProduct {
  // [T, OC], better with OC rounded up to 32, since q is null otherwise and the float d_y.x is
  // used.  Columns behind w.rows multiply nothing, but are rounded with their neighbours: zeros.
  RoundedActivations d_y;
  WeightView w;  // [OC, C]
};

// d_x [T, C] = the sum of all products, or += that with `accumulate`.  Quantized weights are
// unpacked, and rounded once more, to 8 bit per column and 32 rows: the error is about 1.4 times
// MatMulFast's, and a few rows take as long as some dozens.
// REQUIRES: d_x aliases no d_y; w.cols == C.
void MatMulFastBackward(std::span<const FastBackwardProduct> products, Matrix d_x, bool accumulate,
                        ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_FAST_MATMUL_H_
