// Rotary position embedding.  Source: arXiv 2104.09864.
//
// Pairs are (2i, 2i + 1) (llama) or (i, i + d/2) (half-split: qwen2), d = the leading dimensions
// that rotate.  The angles of the positions are put into a table once a pass and used by every
// layer, for queries and keys.
#ifndef LORIKEET_KERNELS_ROPE_H_
#define LORIKEET_KERNELS_ROPE_H_

#include <cstdint>

#include "common/base/thread_pool.h"
#include "kernels/views.h"

namespace lorikeet {

// table [T, d]: row t holds cos(angle_i), i < d/2, then sin(angle_i); angle_i = positions[t] *
// inverse_frequencies[i].
void FillRopeTable(const int32_t* positions, const float* inverse_frequencies, Matrix table);

// x [T, H * head_size] in place; table [T, d], d <= head_size.
void Rope(Matrix x, int head_size, bool half_split, ConstMatrix table, ThreadPool* pool);
// The inverse rotation: turns d(rotated) into d(x), in place.
void RopeBackward(Matrix d_x, int head_size, bool half_split, ConstMatrix table, ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_ROPE_H_
