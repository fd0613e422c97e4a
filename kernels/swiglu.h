// The gate of the feed-forward block: y = silu(gate) * up.  Source: arXiv 2002.05202.
#ifndef LORIKEET_KERNELS_SWIGLU_H_
#define LORIKEET_KERNELS_SWIGLU_H_

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// gate, up, y [T, F]; y may be gate or up.
void SwiGlu(ConstMatrix gate, ConstMatrix up, Matrix y, ThreadPool* pool);

// d_gate, d_up [T, F] are overwritten; they may be gate and up, or d_y.
void SwiGluBackward(ConstMatrix gate, ConstMatrix up, ConstMatrix d_y, Matrix d_gate, Matrix d_up,
                    ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SWIGLU_H_
