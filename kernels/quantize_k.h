// Rounding to the K-quants.  Not for use outside this folder: see QuantizeRow in quant.h.
//
// Plain least squares, since no importance of single weights is known: each group's scale (and
// minimum) is searched over a range of grids and fitted to the integers that each grid gives;
// scales are then rounded to their own few bits, the neighbours of each tried with the weights
// rounded anew, and the block's two factors fitted last.
#ifndef LORIKEET_KERNELS_QUANTIZE_K_H_
#define LORIKEET_KERNELS_QUANTIZE_K_H_

#include "kernels/quant.h"

namespace lorikeet {

// x: 256 finite values.  Deterministic, thread-safe.
void Quantize(const float* x, BlockQ4_K* block);
void Quantize(const float* x, BlockQ5_K* block);
void Quantize(const float* x, BlockQ6_K* block);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_QUANTIZE_K_H_
