// Products of few rows of rounded activations: weights are read once, where they lie.
#ifndef LORIKEET_KERNELS_SIMD_FEW_256_INL_H_
#define LORIKEET_KERNELS_SIMD_FEW_256_INL_H_

#include "kernels/simd/matmul_inl.h"

namespace lorikeet {
namespace {

inline __m256i LoadBytes32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// Eight partial sums of signed w times signed x.  w in [-128, 127], x in [-127, 127].
inline __m256i DotSigned(__m256i w, __m256i x) {
#ifdef LORIKEET_SIMD_512
  // The instruction multiplies unsigned by signed: w + 128 is unsigned, and 128 times the sum of x
  // goes off again.
  const __m256i offset = _mm256_set1_epi8(-128);
  const __m256i excess = _mm256_dpbusd_epi32(_mm256_setzero_si256(), offset, x);
  return _mm256_sub_epi32(
      _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_xor_si256(w, offset), x), excess);
#else
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

inline float SumEight(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

template <typename Block>
inline __m256i IntegersOf(const uint8_t* block);
template <>
inline __m256i IntegersOf<BlockQ8_0>(const uint8_t* block) {
  return LoadBytes32(block + 2);
}
template <>
inline __m256i IntegersOf<BlockQ4_0>(const uint8_t* block) {
  const __m128i packed = LoadBytes(block + 2);
  const __m256i both =
      _mm256_inserti128_si256(_mm256_castsi128_si256(packed), _mm_srli_epi16(packed, 4), 1);
  return _mm256_sub_epi8(_mm256_and_si256(both, _mm256_set1_epi8(15)), _mm256_set1_epi8(8));
}

template <typename Block>
inline float DotRounded(const uint8_t* row, const int8_t* q, const float* scales, int64_t n) {
  __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  const int64_t blocks = n / 32;
  const auto add = [&](int64_t b, __m256& sum) __attribute__((always_inline)) {
    const uint8_t* block = row + b * static_cast<int64_t>(sizeof(Block));
    uint16_t d;
    __builtin_memcpy(&d, block, sizeof(d));
    const __m256i dots = DotSigned(IntegersOf<Block>(block), LoadBytes32(q + 32 * b));
    sum = _mm256_fmadd_ps(_mm256_set1_ps(Half(d) * scales[b]), _mm256_cvtepi32_ps(dots), sum);
  };
  int64_t b = 0;
  for (; b + 2 <= blocks; b += 2) {
    add(b, sums[0]);
    add(b + 1, sums[1]);
  }
  if (b < blocks) add(b, sums[0]);
  return SumEight(_mm256_add_ps(sums[0], sums[1]));
}

void MatMulFewRange(const RoundedActivations& x, const WeightView& w, const Matrix& y,
                    int64_t begin, int64_t end, bool accumulate) {
  if (w.type != TensorType::kQ8_0 && w.type != TensorType::kQ4_0) {
    return MatMulRange(x.x, w, y, begin, end, accumulate);
  }
  for (int64_t o = begin; o < end; ++o) {
    const uint8_t* row = w.data + o * w.row_bytes;
    for (int64_t t = 0; t < y.rows; ++t) {
      const int8_t* q = x.q + t * x.q_stride;
      const float* scales = x.scales + t * x.scale_stride;
      float& out = y.data[t * y.stride + o];
      out = (accumulate ? out : 0.0f) + (w.type == TensorType::kQ8_0
                                             ? DotRounded<BlockQ8_0>(row, q, scales, w.cols)
                                             : DotRounded<BlockQ4_0>(row, q, scales, w.cols));
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_FEW_256_INL_H_
