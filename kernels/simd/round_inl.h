// Rounding activations to 8 bit per 32 values, and the second half of low-rank updates.
#ifndef LORIKEET_KERNELS_SIMD_ROUND_INL_H_
#define LORIKEET_KERNELS_SIMD_ROUND_INL_H_

#include "kernels/fast_matmul.h"
#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

inline void RoundBlock(const float* x, int8_t* q, float* scale, float* sums) {
  Vf largest = {};
  for (int j = 0; j < 32; j += kLanes) {
    const Vf v = Load(x + j);
    largest = VecMax(largest, VecMax(v, -v));
  }
  float lanes[kLanes];
  Store(lanes, largest);
  float magnitude = 0;
  for (const float lane : lanes) magnitude = lane > magnitude ? lane : magnitude;
  const float inverse = magnitude > 0 ? 127.0f / magnitude : 0.0f;
  int32_t rounded[32];
  for (int j = 0; j < 32; j += kLanes) {
    const Vi v = ToInt(Load(x + j) * inverse);
    __builtin_memcpy(rounded + j, &v, sizeof(v));
  }
  *scale = magnitude / 127.0f;
  for (int h = 0; h < 2; ++h) {
    int32_t sum = 0;
    for (int j = 16 * h; j < 16 * h + 16; ++j) {
      q[j] = static_cast<int8_t>(rounded[j]);
      sum += rounded[j];
    }
    sums[h] = *scale * static_cast<float>(sum);
  }
}

void RoundRowsRange(const RoundedActivations& rounded, int64_t begin, int64_t end) {
  if (rounded.q == nullptr) return;
  for (int64_t t = begin; t < end; ++t) {
    const float* x = rounded.x.data + t * rounded.x.stride;
    // The views are const for the products; this is what fills them.
    auto* q = const_cast<int8_t*>(rounded.q + t * rounded.q_stride);
    auto* scales = const_cast<float*>(rounded.scales + t * rounded.scale_stride);
    auto* sums = const_cast<float*>(rounded.sums + t * rounded.sum_stride);
    for (int64_t b = 0; b < rounded.x.cols / 32; ++b) {
      RoundBlock(x + 32 * b, q + 32 * b, scales + b, sums + 2 * b);
    }
  }
}

void AddLowRankRange(const ConstMatrix& h, const MatrixView<const uint16_t>& b, const Matrix& y,
                     int64_t begin, int64_t end) {
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t o = begin; o < end; ++o) {
      float sum = 0;
      for (int64_t r = 0; r < h.cols; ++r) {
        sum += h.data[t * h.stride + r] * Half(b.data[o * b.stride + r]);
      }
      y.data[t * y.stride + o] += sum;
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_ROUND_INL_H_
