// Rounding activations to 8 bit per 32 values.  Every instruction set makes the same bits, with
// vectors of 256 bits, which is cheap enough.
#ifndef LORIKEET_KERNELS_SIMD_ROUND_INL_H_
#define LORIKEET_KERNELS_SIMD_ROUND_INL_H_

#include "kernels/fast_matmul.h"
#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

constexpr int kRoundBlocks = 8;  // of 32 values, at a time

inline float LargestMagnitude(const float* x) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 v[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) v[i] = _mm256_and_ps(_mm256_loadu_ps(x + 8 * i), magnitude);
  const __m256 eight = _mm256_max_ps(_mm256_max_ps(v[0], v[1]), _mm256_max_ps(v[2], v[3]));
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

// q = round(x * inverse), 32 of them; returns the sums of fours.
inline __m256i RoundBlock(const float* x, float inverse, int8_t* q) {
  const __m256 factor = _mm256_set1_ps(inverse);
  __m256i v[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), factor));
  }
  // Packing works on halves of vectors, so fours come out in the order 0 2 4 6 1 3 5 7.
  const __m256i mixed =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  const __m256i bytes =
      _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
  return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes), _mm256_set1_epi16(1));
}

// Sums of sixteens of four blocks, from the sums of fours, in order.
inline __m256i SumsOfSixteen(const __m256i (&fours)[4]) {
  const __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(fours[0], fours[1]),
                                         _mm256_hadd_epi32(fours[2], fours[3]));
  return _mm256_permutevar8x32_epi32(sums, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// `blocks` <= kRoundBlocks of them.
inline void RoundBlocks(const float* x, int64_t blocks, int8_t* q, float* scales, float* sums) {
  alignas(32) float largest[kRoundBlocks] = {};
  for (int64_t b = 0; b < blocks; ++b) largest[b] = LargestMagnitude(x + 32 * b);
  const __m256 most = _mm256_set1_ps(127.0f);
  const __m256 magnitudes = _mm256_load_ps(largest);
  // Finite, so that zeros and numbers too small for it become 0.
  const __m256 inverses =
      _mm256_min_ps(_mm256_div_ps(most, magnitudes), _mm256_set1_ps(__FLT_MAX__));
  alignas(32) float inverse[kRoundBlocks];
  alignas(32) float scale[kRoundBlocks];
  alignas(32) float sum[2 * kRoundBlocks];
  _mm256_store_ps(inverse, inverses);
  _mm256_store_ps(scale, _mm256_div_ps(magnitudes, most));
  for (int64_t b = 0; b < blocks; b += 4) {
    __m256i fours[4] = {};
    const int64_t n = Min(4, blocks - b);
    for (int64_t i = 0; i < n; ++i) {
      fours[i] = RoundBlock(x + 32 * (b + i), inverse[b + i], q + 32 * (b + i));
    }
    const __m256 twice = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_load_ps(scale + b)),
                                                  _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
    _mm256_store_ps(sum + 2 * b, _mm256_mul_ps(twice, _mm256_cvtepi32_ps(SumsOfSixteen(fours))));
  }
  for (int64_t b = 0; b < blocks; ++b) scales[b] = scale[b];
  for (int64_t h = 0; h < 2 * blocks; ++h) sums[h] = sum[h];
}

void RoundRowsRange(const RoundedActivations& rounded, int64_t begin, int64_t end) {
  if (rounded.q == nullptr) return;
  for (int64_t t = begin; t < end; ++t) {
    const float* x = rounded.x.data + t * rounded.x.stride;
    // The views are const for the products; this is what fills them.
    auto* q = const_cast<int8_t*>(rounded.q + t * rounded.q_stride);
    auto* scales = const_cast<float*>(rounded.scales + t * rounded.scale_stride);
    auto* sums = const_cast<float*>(rounded.sums + t * rounded.sum_stride);
    const int64_t blocks = rounded.x.cols / 32;
    for (int64_t b = 0; b < blocks; b += kRoundBlocks) {
      RoundBlocks(x + 32 * b, Min(kRoundBlocks, blocks - b), q + 32 * b, scales + b, sums + 2 * b);
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_ROUND_INL_H_
