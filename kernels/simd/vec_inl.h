// Vectors of floats, as wide as the instruction set: loads, sums, exp.
//
// Included once by each file of kernels/simd, compiled with that file's instruction set. Everything
// is in the unnamed namespace, so that nothing compiled here can be linked into the rest of the
// program.
#ifndef LORIKEET_KERNELS_SIMD_VEC_INL_H_
#define LORIKEET_KERNELS_SIMD_VEC_INL_H_

#include <immintrin.h>

#include <cstdint>

namespace lorikeet {
namespace {

#ifdef LORIKEET_SIMD_512
constexpr int kVecBytes = 64;
#else
constexpr int kVecBytes = 32;
#endif
constexpr int kLanes = kVecBytes / 4;

typedef float Vf __attribute__((vector_size(kVecBytes)));
typedef int32_t Vi __attribute__((vector_size(kVecBytes)));
typedef float VfAnywhere __attribute__((vector_size(kVecBytes), aligned(4), may_alias));

inline int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }

inline Vf Load(const float* p) { return *reinterpret_cast<const VfAnywhere*>(p); }
inline void Store(float* p, Vf v) { *reinterpret_cast<VfAnywhere*>(p) = v; }
inline Vf Splat(float x) { return x - Vf{}; }

// The first n < kLanes elements; the others are 0.
inline Vf LoadPart(const float* p, int64_t n) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return Load(lanes);
}
inline void StorePart(float* p, Vf v, int64_t n) {
  float lanes[kLanes];
  Store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

inline float Sum(Vf v) {
#ifdef LORIKEET_SIMD_512
  return _mm512_reduce_add_ps(v);
#else
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
#endif
}

inline Vf RoundNearest(Vf x) {
#ifdef LORIKEET_SIMD_512
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
}

inline Vf VecMax(Vf a, Vf b) {
#ifdef LORIKEET_SIMD_512
  return _mm512_max_ps(a, b);
#else
  return _mm256_max_ps(a, b);
#endif
}
inline Vf VecMin(Vf a, Vf b) {
#ifdef LORIKEET_SIMD_512
  return _mm512_min_ps(a, b);
#else
  return _mm256_min_ps(a, b);
#endif
}
inline Vi ToInt(Vf x) {
#ifdef LORIKEET_SIMD_512
  return reinterpret_cast<Vi>(_mm512_cvtps_epi32(x));
#else
  return reinterpret_cast<Vi>(_mm256_cvtps_epi32(x));
#endif
}

// exp within 2 ulp on [-87.3, 88]; 0 below, exp(88) above.  2^n times a degree-6 polynomial on
// [-ln2 / 2, ln2 / 2] (coefficients of the Cephes library).
inline Vf Exp(Vf x) {
  const Vf low = Splat(-87.3f);
  const Vf clamped = VecMax(VecMin(x, Splat(88.0f)), low);
  const Vf n = RoundNearest(clamped * 1.44269504f);
  const Vf r = clamped - n * 0.693359375f - n * -2.12194440e-4f;
  Vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Vi scaled = reinterpret_cast<Vi>(p) + (ToInt(n) << 23);
  return x < low ? Vf{} : reinterpret_cast<Vf>(scaled);
}

// Sixteen signed bytes as floats.
struct Sixteen {
  Vf v[16 / kLanes];
};
inline Sixteen FloatsOf(__m128i bytes) {
#ifdef LORIKEET_SIMD_512
  return {{_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))}};
#else
  return {{_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
           _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)))}};
#endif
}
inline __m128i LoadBytes(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

inline float Half(uint16_t half) { return _cvtsh_ss(half); }
inline Vf LoadHalves(const uint8_t* p) {
#ifdef LORIKEET_SIMD_512
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  return _mm256_cvtph_ps(LoadBytes(p));
#endif
}

inline float Dot(const float* a, const float* b, int64_t n) {
  Vf sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sums[j] += Load(a + i + j * kLanes) * Load(b + i + j * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) sums[0] += Load(a + i) * Load(b + i);
  if (i < n) sums[1] += LoadPart(a + i, n - i) * LoadPart(b + i, n - i);
  return Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_VEC_INL_H_
