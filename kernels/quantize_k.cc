#include "kernels/quantize_k.h"

#include <algorithm>
#include <cmath>

namespace lorikeet {
namespace {

constexpr int kBlock = 256;
// Independent sums, so that a compiler may keep them in one vector register without changing the
// order of additions that the source states.
constexpr int kLanes = 8;

// The nearest integer of a value whose magnitude is below 2^22: adding 1.5 * 2^23 leaves no bits
// for a fraction.  Unlike std::nearbyint it needs no newer instructions than SSE2.
inline float Nearest(float value) {
  constexpr float kShift = 12582912.0f;
  return (value + kShift) - kShift;
}

inline float Limit(float value, float low, float high) {
  return std::min(std::max(value, low), high);
}

float Total(const float (&lanes)[kLanes]) {
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// The half nearest to d >= 0, but not zero while steps of the smallest half are finer than `reach`,
// the largest value that they would have to reach.  Saturates at the largest half.
uint16_t ScaleToHalf(float d, float reach) {
  constexpr float kSmallestHalf = 0x1p-24f;
  constexpr float kLargestHalf = 65504.0f;
  const uint16_t half = FloatToHalf(std::min(d, kLargestHalf));
  return half == 0 && reach >= kSmallestHalf / 2 ? 1 : half;
}

// Largest small scales that the largest of a block's scales is given in turn: each makes another
// grid for the others, and another half float of d.
template <int kTop>
constexpr int kTops[] = {kTop, kTop - 1, kTop - 3, kTop - 6};

// 1 / d, 0 for 0.
float Inverse(float d) { return d > 0 ? 1.0f / d : 0.0f; }

// ---- Q4_K and Q5_K: x = scale * q - minimum in groups of 32 ----

constexpr int kGroup = 32;
constexpr int kGroups = kBlock / kGroup;
constexpr int kMaxScale = 63;  // scales and minima have 6 bits

struct Affine {
  float scale = 0;
  float minimum = 0;  // >= 0
};

struct AffineSums {
  float q = 0, qq = 0, qx = 0;
};

// Of the integers that `inverse` and `minimum` give: q = (x + minimum) * inverse in [0, levels].
AffineSums SumsOf(const float* x, float minimum, float inverse, float levels) {
  float q_sum[kLanes] = {}, qq_sum[kLanes] = {}, qx_sum[kLanes] = {};
  for (int i = 0; i < kGroup; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float shifted = x[i + l] + minimum;
      const float q = Limit(Nearest(shifted * inverse), 0.0f, levels);
      q_sum[l] += q;
      qq_sum[l] += q * q;
      qx_sum[l] += q * shifted;
    }
  }
  return {Total(q_sum), Total(qq_sum), Total(qx_sum)};
}

// Squared error of x against scale * q - minimum, with the best integers.
float ErrorOf(const float* x, const Affine& fit, float levels) {
  const float inverse = Inverse(fit.scale);
  float sum[kLanes] = {};
  for (int i = 0; i < kGroup; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float q = Limit(Nearest((x[i + l] + fit.minimum) * inverse), 0.0f, levels);
      const float error = fit.scale * q - fit.minimum - x[i + l];
      sum[l] += error * error;
    }
  }
  return Total(sum);
}

// The least-squares scale and minimum for given integers; sums of values shifted by `minimum`.
// A minimum cannot be negative: then it is 0 and only the scale is fitted.
Affine Fit(const AffineSums& sums, float minimum, float shifted_total) {
  const float n = kGroup;
  const float determinant = n * sums.qq - sums.q * sums.q;
  if (determinant <= 0) return {0, minimum};
  const float scale = (n * sums.qx - sums.q * shifted_total) / determinant;
  const float fitted = minimum - (shifted_total - scale * sums.q) / n;
  if (fitted >= 0) return {std::max(scale, 0.0f), fitted};
  return {std::max((sums.qx - minimum * sums.q) / sums.qq, 0.0f), 0};
}

Affine FitGroup(const float* x, float levels) {
  const auto [lowest, highest] = std::minmax_element(x, x + kGroup);
  const float minimum = std::max(-*lowest, 0.0f);
  const float range = *highest + minimum;
  if (range <= 0) return {0, minimum};  // all equal and not positive
  float shifted_total = 0;
  for (int i = 0; i < kGroup; ++i) shifted_total += x[i] + minimum;
  // Grids a little coarser and finer than the one that spans the range: the ends may be cut off.
  constexpr int kGrids = 16;
  Affine best = {range / levels, minimum};
  float best_error = ErrorOf(x, best, levels);
  for (int grid = 0; grid < kGrids; ++grid) {
    const float steps = levels - 1.0f + 0.15f * static_cast<float>(grid);
    const Affine fit = Fit(SumsOf(x, minimum, steps / range, levels), minimum, shifted_total);
    const float error = ErrorOf(x, fit, levels);
    if (error < best_error) {
      best = fit;
      best_error = error;
    }
  }
  return best;
}

struct AffineBlock {
  uint16_t d = 0, dmin = 0;
  uint8_t scale[kGroups] = {}, minimum[kGroups] = {};
  uint8_t q[kBlock] = {};
};

// The pair of 6-bit numbers around (scale, minimum) that gives the group its smallest error.
void RoundGroupScales(const float* x, const Affine& fit, float d, float dmin, float levels,
                      uint8_t* scale, uint8_t* minimum) {
  const auto nearest = [](float value, float step) {
    return static_cast<int>(Limit(Nearest(value * Inverse(step)), 0.0f, kMaxScale));
  };
  const int middle_scale = nearest(fit.scale, d), middle_minimum = nearest(fit.minimum, dmin);
  float best_error = INFINITY;
  for (int s = std::max(middle_scale - 1, 0); s <= std::min(middle_scale + 1, kMaxScale); ++s) {
    for (int m = std::max(middle_minimum - 1, 0); m <= std::min(middle_minimum + 1, kMaxScale);
         ++m) {
      const float error =
          ErrorOf(x, {d * static_cast<float>(s), dmin * static_cast<float>(m)}, levels);
      if (error < best_error) {
        best_error = error;
        *scale = static_cast<uint8_t>(s);
        *minimum = static_cast<uint8_t>(m);
      }
    }
  }
}

// The integers for the block's present scales; the block's squared error.
float RoundValues(const float* x, float levels, AffineBlock* block) {
  const float d = HalfToFloat(block->d), dmin = HalfToFloat(block->dmin);
  float error = 0;
  for (int g = 0; g < kGroups; ++g) {
    const Affine fit = {d * block->scale[g], dmin * block->minimum[g]};
    const float inverse = Inverse(fit.scale);
    for (int i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      const float q = Limit(Nearest((x[i] + fit.minimum) * inverse), 0.0f, levels);
      block->q[i] = static_cast<uint8_t>(q);
    }
    error += ErrorOf(x + g * kGroup, fit, levels);
  }
  return error;
}

// d and dmin by least squares over the block, everything else given; false if there is no answer.
bool FitFactors(const float* x, AffineBlock* block) {
  double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
  for (int i = 0; i < kBlock; ++i) {
    const double a = block->scale[i / kGroup] * block->q[i];
    const double b = -static_cast<double>(block->minimum[i / kGroup]);
    aa += a * a;
    ab += a * b;
    bb += b * b;
    ax += a * x[i];
    bx += b * x[i];
  }
  const double determinant = aa * bb - ab * ab;
  if (aa <= 0) return false;
  const bool both = determinant > 1e-9 * aa * bb;
  const double d = both ? (ax * bb - bx * ab) / determinant : ax / aa;
  const double dmin = both ? (bx * aa - ax * ab) / determinant : HalfToFloat(block->dmin);
  if (d <= 0 || dmin < 0) return false;
  block->d = FloatToHalf(static_cast<float>(d));
  block->dmin = FloatToHalf(static_cast<float>(dmin));
  return true;
}

// The block with the largest scale and minimum at `top_scale`; its squared error.
float TryAffine(const float* x, const Affine (&fits)[kGroups], const Affine& largest,
                float top_scale, float levels, AffineBlock* block) {
  block->d = ScaleToHalf(largest.scale / top_scale, largest.scale * levels);
  block->dmin = ScaleToHalf(largest.minimum / top_scale, largest.minimum);
  const float d = HalfToFloat(block->d), dmin = HalfToFloat(block->dmin);
  for (int g = 0; g < kGroups; ++g) {
    RoundGroupScales(x + g * kGroup, fits[g], d, dmin, levels, &block->scale[g],
                     &block->minimum[g]);
  }
  const float error = RoundValues(x, levels, block);
  AffineBlock fitted = *block;
  if (!FitFactors(x, &fitted)) return error;
  const float fitted_error = RoundValues(x, levels, &fitted);
  if (fitted_error >= error) return error;
  *block = fitted;
  return fitted_error;
}

AffineBlock QuantizeAffineBlock(const float* x, int top) {
  const auto levels = static_cast<float>(top);
  Affine fits[kGroups], largest;
  for (int g = 0; g < kGroups; ++g) {
    fits[g] = FitGroup(x + g * kGroup, levels);
    largest.scale = std::max(largest.scale, fits[g].scale);
    largest.minimum = std::max(largest.minimum, fits[g].minimum);
  }
  AffineBlock best;
  float best_error = INFINITY;
  for (const int top_scale : kTops<kMaxScale>) {
    AffineBlock block;
    const float error = TryAffine(x, fits, largest, static_cast<float>(top_scale), levels, &block);
    if (error < best_error) {
      best = block;
      best_error = error;
    }
  }
  return best;
}

// Eight pairs of 6-bit numbers in twelve bytes: the first four of each in the low bits of bytes 0-3
// and 4-7, the low halves of the others in bytes 8-11 and their high bits above the first ones.
void PackScales(const AffineBlock& block, uint8_t (&packed)[12]) {
  for (int j = 0; j < 4; ++j) {
    const int scale = block.scale[j + 4], minimum = block.minimum[j + 4];
    packed[j] = static_cast<uint8_t>(block.scale[j] | (scale >> 4) << 6);
    packed[j + 4] = static_cast<uint8_t>(block.minimum[j] | (minimum >> 4) << 6);
    packed[j + 8] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
  }
}

// Byte l of chunk c holds the low halves of values 64 c + l and 64 c + 32 + l.
void PackLow(const AffineBlock& block, uint8_t (&packed)[kBlock / 2]) {
  for (int i = 0; i < kBlock / 2; ++i) {
    const uint8_t* chunk = block.q + i / kGroup * 2 * kGroup + i % kGroup;
    packed[i] = static_cast<uint8_t>((chunk[0] & 15) | (chunk[kGroup] & 15) << 4);
  }
}

// ---- Q6_K: x = scale * (q - 32) in groups of 16 ----

constexpr int kSmallGroup = 16;
constexpr int kSmallGroups = kBlock / kSmallGroup;
constexpr float kLowest = -32, kHighest = 31;
constexpr int kMaxSignedScale = 127;

// Squared error of the group with `scale` (of either sign) and the best integers.
float SymmetricError(const float* x, float scale) {
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  float sum[kLanes] = {};
  for (int i = 0; i < kSmallGroup; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float q = Limit(Nearest(x[i + l] * inverse), kLowest, kHighest);
      const float error = scale * q - x[i + l];
      sum[l] += error * error;
    }
  }
  return Total(sum);
}

float FitSymmetricGroup(const float* x) {
  const float extreme = *std::max_element(
      x, x + kSmallGroup, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  if (extreme == 0) return 0;
  // The value of largest magnitude becomes about -32, whatever its sign; a scale may be negative.
  constexpr int kGrids = 16;
  float best = extreme / kLowest;
  float best_error = SymmetricError(x, best);
  for (int grid = 0; grid < kGrids; ++grid) {
    const float inverse = (kLowest - 1.0f + 0.125f * static_cast<float>(grid)) / extreme;
    float qq_sum[kLanes] = {}, qx_sum[kLanes] = {};
    for (int i = 0; i < kSmallGroup; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const float q = Limit(Nearest(x[i + l] * inverse), kLowest, kHighest);
        qq_sum[l] += q * q;
        qx_sum[l] += q * x[i + l];
      }
    }
    const float scale = Total(qx_sum) / Total(qq_sum);
    const float error = SymmetricError(x, scale);
    if (error < best_error) {
      best = scale;
      best_error = error;
    }
  }
  return best;
}

struct SymmetricBlock {
  uint16_t d = 0;
  int8_t scale[kSmallGroups] = {};
  int8_t q[kBlock] = {};  // without the offset
};

int8_t RoundSymmetricScale(const float* x, float scale, float d) {
  constexpr auto kTop = static_cast<float>(kMaxSignedScale);
  const int middle = static_cast<int>(Limit(Nearest(scale * Inverse(d)), -kTop, kTop));
  int best = middle;
  float best_error = INFINITY;
  for (int s = std::max(middle - 1, -kMaxSignedScale); s <= std::min(middle + 1, kMaxSignedScale);
       ++s) {
    const float error = SymmetricError(x, d * static_cast<float>(s));
    if (error < best_error) {
      best_error = error;
      best = s;
    }
  }
  return static_cast<int8_t>(best);
}

float RoundSymmetricValues(const float* x, SymmetricBlock* block) {
  const float d = HalfToFloat(block->d);
  float error = 0;
  for (int g = 0; g < kSmallGroups; ++g) {
    const float scale = d * block->scale[g];
    const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
    for (int i = g * kSmallGroup; i < (g + 1) * kSmallGroup; ++i) {
      block->q[i] = static_cast<int8_t>(Limit(Nearest(x[i] * inverse), kLowest, kHighest));
    }
    error += SymmetricError(x + g * kSmallGroup, scale);
  }
  return error;
}

bool FitSymmetricFactor(const float* x, SymmetricBlock* block) {
  double aa = 0, ax = 0;
  for (int i = 0; i < kBlock; ++i) {
    const double a = block->scale[i / kSmallGroup] * block->q[i];
    aa += a * a;
    ax += a * x[i];
  }
  if (aa <= 0 || ax <= 0) return false;
  block->d = FloatToHalf(static_cast<float>(ax / aa));
  return true;
}

// The block with the largest scale at `top_scale`; its squared error.
float TrySymmetric(const float* x, const float (&scales)[kSmallGroups], float largest,
                   float top_scale, SymmetricBlock* block) {
  block->d = ScaleToHalf(largest / top_scale, -largest * kLowest);
  const float d = HalfToFloat(block->d);
  for (int g = 0; g < kSmallGroups; ++g) {
    block->scale[g] = RoundSymmetricScale(x + g * kSmallGroup, scales[g], d);
  }
  const float error = RoundSymmetricValues(x, block);
  SymmetricBlock fitted = *block;
  if (!FitSymmetricFactor(x, &fitted)) return error;
  const float fitted_error = RoundSymmetricValues(x, &fitted);
  if (fitted_error >= error) return error;
  *block = fitted;
  return fitted_error;
}

SymmetricBlock QuantizeSymmetricBlock(const float* x) {
  float scales[kSmallGroups];
  float largest = 0;
  for (int g = 0; g < kSmallGroups; ++g) {
    scales[g] = FitSymmetricGroup(x + g * kSmallGroup);
    largest = std::max(largest, std::fabs(scales[g]));
  }
  SymmetricBlock best;
  float best_error = INFINITY;
  for (const int top_scale : kTops<kMaxSignedScale>) {
    SymmetricBlock block;
    const float error = TrySymmetric(x, scales, largest, static_cast<float>(top_scale), &block);
    if (error < best_error) {
      best = block;
      best_error = error;
    }
  }
  return best;
}

}  // namespace

void Quantize(const float* x, BlockQ4_K* block) {
  const AffineBlock rounded = QuantizeAffineBlock(x, 15);
  block->d = rounded.d;
  block->dmin = rounded.dmin;
  PackScales(rounded, block->scales);
  PackLow(rounded, block->q);
}

void Quantize(const float* x, BlockQ5_K* block) {
  const AffineBlock rounded = QuantizeAffineBlock(x, 31);
  block->d = rounded.d;
  block->dmin = rounded.dmin;
  PackScales(rounded, block->scales);
  PackLow(rounded, block->q);
  // Bit g of byte l is the fifth bit of value l of group g.
  for (int l = 0; l < kGroup; ++l) {
    int bits = 0;
    for (int g = 0; g < kGroups; ++g) bits |= (rounded.q[g * kGroup + l] >> 4) << g;
    block->high[l] = static_cast<uint8_t>(bits);
  }
}

void Quantize(const float* x, BlockQ6_K* block) {
  const SymmetricBlock rounded = QuantizeSymmetricBlock(x);
  block->d = rounded.d;
  std::copy(std::begin(rounded.scale), std::end(rounded.scale), block->scales);
  // Each half of 128: byte l of `low` has the low bits of values l and l + 64, byte l of `high` the
  // high bits of values l, l + 32, l + 64 and l + 96.
  constexpr int kHalf = kBlock / 2;
  for (int half = 0; half < 2; ++half) {
    const auto level = [&](int i) {
      return rounded.q[half * kHalf + i] - static_cast<int>(kLowest);
    };
    for (int l = 0; l < kHalf / 2; ++l) {
      block->low[half * kHalf / 2 + l] =
          static_cast<uint8_t>((level(l) & 15) | (level(l + kHalf / 2) & 15) << 4);
    }
    for (int l = 0; l < kHalf / 4; ++l) {
      int bits = 0;
      for (int part = 0; part < 4; ++part) bits |= (level(l + 32 * part) >> 4) << (2 * part);
      block->high[half * kHalf / 4 + l] = static_cast<uint8_t>(bits);
    }
  }
}

}  // namespace lorikeet
