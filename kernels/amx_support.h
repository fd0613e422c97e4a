// Whether AMX can be used here: the processor has it, the system saves its registers, this process
// may use them, and a product comes out right.  Internal to kernels/; see isa.h.
#ifndef LORIKEET_KERNELS_AMX_SUPPORT_H_
#define LORIKEET_KERNELS_AMX_SUPPORT_H_

#include "kernels/kernel_table.h"

namespace lorikeet {

// Null if the kernels of `amx` can be used, otherwise why not ("" on a processor without AMX). Asks
// Linux for permission to use the tile registers, which holds for the whole process from then on.
// REQUIRES: what Isa::kAvx512 needs is there.
const char* WhyNoAmx(const KernelTable& amx, const KernelTable& avx512);

// Whether a small product of `batch`'s mat_mul_batch is that of `trusted`'s mat_mul, up to the
// rounding to bfloat16.  Takes less than a millisecond.
bool BatchProductIsRight(const KernelTable& batch, const KernelTable& trusted);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_AMX_SUPPORT_H_
