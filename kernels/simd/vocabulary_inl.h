// Exponentials of a row of logits, as vocabulary_loss.h wants them.
#ifndef LORIKEET_KERNELS_SIMD_VOCABULARY_INL_H_
#define LORIKEET_KERNELS_SIMD_VOCABULARY_INL_H_

#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

// 2^x of finite x <= 0 within 2 ulp, 0 where that is below 2^-126; NaN of what is not finite.  2^n
// times a degree-6 polynomial on [-1 / 2, 1 / 2] (coefficients of the Cephes library).  Cheaper
// than Exp: beside a product on AMX, exponentials are a good part of the time.
inline Vf NegativeExp2(Vf x) {
#ifdef LORIKEET_SIMD_512
  const Vf bounded = x;
#else
  const Vf bounded = VecMax(Splat(-127.0f), x);  // NaN, if x is: the second then counts
#endif
  const Vf n = RoundNearest(bounded);
  const Vf r = bounded - n;
  Vf p = r * 1.535336188319500e-4f + 1.339887440266574e-3f;
  p = p * r + 9.618437357674640e-3f;
  p = p * r + 5.550332471162809e-2f;
  p = p * r + 2.402264791363012e-1f;
  p = p * r + 6.931472028550421e-1f;
  p = p * r + 1.0f;
#ifdef LORIKEET_SIMD_512
  return _mm512_scalef_ps(p, n);
#else
  const Vi scaled = reinterpret_cast<Vi>(p) + (ToInt(n) << 23);
  return x < -126.0f ? Vf{} : reinterpret_cast<Vf>(scaled);
#endif
}

// Sums are floats within a piece, and pieces are added up in double, since slabs are many.
double Exponentials(float* x, int64_t n, float shift) {
  constexpr int64_t kPiece = 1024;
  constexpr float kLog2E = 1.44269504f;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t end = Min(n, begin + kPiece);
    Vf sum = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const Vf e = NegativeExp2((Load(x + i) - shift) * kLog2E);
      Store(x + i, e);
      sum += e;
    }
    total += static_cast<double>(Sum(sum));
    if (i < end) {
      StorePart(x + i, NegativeExp2((LoadPart(x + i, end - i) - shift) * kLog2E), end - i);
      for (; i < end; ++i) total += static_cast<double>(x[i]);
    }
  }
  return total;
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_VOCABULARY_INL_H_
