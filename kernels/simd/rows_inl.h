// Row-wise operations: normalization, gate, exponentials.
#ifndef LORIKEET_KERNELS_SIMD_ROWS_INL_H_
#define LORIKEET_KERNELS_SIMD_ROWS_INL_H_

#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

inline float InverseRms(const float* x, float epsilon, int64_t n) {
  return 1.0f / __builtin_sqrtf(Dot(x, x, n) / static_cast<float>(n) + epsilon);
}

void RmsNormRow(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  const float r = InverseRms(x, epsilon, n);
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * r * weight[i];
}

// With r = 1 / rms: d_x = r (g - x r^2 mean(g x)), g = weight * d_y.
void RmsNormBackwardRow(const float* x, const float* weight, float epsilon, const float* d_y,
                        int64_t n, float* d_x) {
  const float r = InverseRms(x, epsilon, n);
  Vf sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    for (int j = 0; j < 2; ++j) {
      const int64_t at = i + j * kLanes;
      sums[j] += Load(weight + at) * Load(d_y + at) * Load(x + at);
    }
  }
  float dot = Sum(sums[0] + sums[1]);
  for (; i < n; ++i) dot += weight[i] * d_y[i] * x[i];
  const float common = r * r * dot / static_cast<float>(n);
  for (i = 0; i < n; ++i) d_x[i] += r * (weight[i] * d_y[i] - x[i] * common);
}

void SwiGluRow(const float* gate, const float* up, int64_t n, float* y) {
  const auto compute = [](Vf g, Vf u) { return g / (1.0f + Exp(-g)) * u; };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, compute(Load(gate + i), Load(up + i)));
  if (i < n) StorePart(y + i, compute(LoadPart(gate + i, n - i), LoadPart(up + i, n - i)), n - i);
}

void SwiGluBackwardRow(const float* gate, const float* up, const float* d_y, int64_t n,
                       float* d_gate, float* d_up) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t count = Min(kLanes, n - i);
    const bool whole = count == kLanes;
    const Vf g = whole ? Load(gate + i) : LoadPart(gate + i, count);
    const Vf u = whole ? Load(up + i) : LoadPart(up + i, count);
    const Vf d = whole ? Load(d_y + i) : LoadPart(d_y + i, count);
    const Vf s = 1.0f / (1.0f + Exp(-g));
    const Vf d_g = d * u * s * (1.0f + g * (1.0f - s));
    const Vf d_u = d * g * s;
    if (whole) {
      Store(d_gate + i, d_g);
      Store(d_up + i, d_u);
    } else {
      StorePart(d_gate + i, d_g, count);
      StorePart(d_up + i, d_u, count);
    }
  }
}

inline float Largest(const float* x, int64_t n) {
  Vf parts[4] = {Splat(x[0]), Splat(x[0]), Splat(x[0]), Splat(x[0])};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) parts[j] = VecMax(parts[j], Load(x + i + j * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) parts[0] = VecMax(parts[0], Load(x + i));
  float lanes[kLanes];
  Store(lanes, VecMax(VecMax(parts[0], parts[1]), VecMax(parts[2], parts[3])));
  float result = lanes[0];
  for (const float lane : lanes) result = lane > result ? lane : result;
  for (; i < n; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// sum exp(x - shift): floats within a piece, pieces in double, since vocabularies are long.
inline double SumExp(const float* x, int64_t n, float shift) {
  constexpr int64_t kPiece = 1024;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t end = Min(n, begin + kPiece);
    Vf sum = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) sum += Exp(Load(x + i) - shift);
    if (i < end) {
      float lanes[kLanes];
      Store(lanes, Exp(LoadPart(x + i, end - i) - shift));
      for (int64_t j = 0; j < end - i; ++j) total += static_cast<double>(lanes[j]);
    }
    total += static_cast<double>(Sum(sum));
  }
  return total;
}

float LogSumExp(const float* x, int64_t n) {
  const float largest = Largest(x, n);
  return static_cast<float>(static_cast<double>(largest) + __builtin_log(SumExp(x, n, largest)));
}

void ScaledExp(float* x, int64_t n, float shift, float factor) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(x + i, factor * Exp(Load(x + i) - shift));
  if (i < n) StorePart(x + i, factor * Exp(LoadPart(x + i, n - i) - shift), n - i);
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_ROWS_INL_H_
