// Exponentials of a row of logits, as vocabulary_loss.h wants them.
#ifndef LORIKEET_KERNELS_SIMD_VOCABULARY_INL_H_
#define LORIKEET_KERNELS_SIMD_VOCABULARY_INL_H_

#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

// Exp, but NaN of NaN.
inline Vf ExpOrNan(Vf x) { return x == x ? Exp(x) : x; }

// Sums are floats within a piece, and pieces are added up in double, since slabs are many.
double Exponentials(float* x, int64_t n, float shift) {
  constexpr int64_t kPiece = 1024;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t end = Min(n, begin + kPiece);
    Vf sum = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const Vf e = ExpOrNan(Load(x + i) - shift);
      Store(x + i, e);
      sum += e;
    }
    total += static_cast<double>(Sum(sum));
    if (i < end) {
      StorePart(x + i, ExpOrNan(LoadPart(x + i, end - i) - shift), end - i);
      for (; i < end; ++i) total += static_cast<double>(x[i]);
    }
  }
  return total;
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_VOCABULARY_INL_H_
