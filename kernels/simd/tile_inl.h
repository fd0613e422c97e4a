// The inner product of prefill: a panel of weights times a few rows of rounded activations, sums in
// registers.
#ifndef LORIKEET_KERNELS_SIMD_TILE_INL_H_
#define LORIKEET_KERNELS_SIMD_TILE_INL_H_

#include "kernels/simd/panel_inl.h"

namespace lorikeet {
namespace {

#ifdef LORIKEET_SIMD_512
constexpr int kTileTokens = 6;
#else
constexpr int kTileTokens = 4;
#endif

// The columns of a panel in a few rows of x.
struct TokenTile {
  // Signed, or plus 128 where the weights are signed.  The gap keeps rows out of each other's sets
  // of the cache.
  alignas(64) uint8_t q[kTileTokens][kSlice + 64];
  float scales[kTileTokens][kSlice / 32];
  float sums[kTileTokens][kSlice / 16];  // one per group
};

template <int kNumber>
struct Constant {
  static constexpr int kValue = kNumber;
};

// Calls multiply(Constant<tokens>, t) for tiles [t, t + tokens) of all `rows`, of sizes as equal as
// can be: one row alone costs as much as four.
template <typename Multiply>
void ForTiles(int64_t rows, const Multiply& multiply) {
  const int64_t tiles = (rows + kTileTokens - 1) / kTileTokens;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t t = rows * i / tiles;
    switch (rows * (i + 1) / tiles - t) {
      case 1:
        multiply(Constant<1>{}, t);
        break;
      case 2:
        multiply(Constant<2>{}, t);
        break;
      case 3:
        multiply(Constant<3>{}, t);
        break;
#ifdef LORIKEET_SIMD_512
      case 4:
        multiply(Constant<4>{}, t);
        break;
      case 5:
        multiply(Constant<5>{}, t);
        break;
#endif
      default:
        multiply(Constant<kTileTokens>{}, t);
    }
  }
}

// Where the product goes: y[t * stride + row], += with `add`.
struct TileOutput {
  float* y;
  int64_t stride;
  int64_t rows;  // <= kPanelRows
  bool add;
};

#ifdef LORIKEET_SIMD_512

inline __m512i FourBytes(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  return _mm512_set1_epi32(four);
}

inline void PutSums(const TileOutput& out, int t, const __m512 (&sums)[2]) {
  float* y = out.y + t * out.stride;
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    if (out.rows == kPanelRows) {
      const __m512 old = out.add ? _mm512_loadu_ps(y + 16 * v) : _mm512_setzero_ps();
      _mm512_storeu_ps(y + 16 * v, _mm512_add_ps(old, sums[v]));
    } else {
      const auto mask = static_cast<__mmask16>(((uint64_t{1} << out.rows) - 1) >> (16 * v));
      const __m512 old = out.add ? _mm512_maskz_loadu_ps(mask, y + 16 * v) : _mm512_setzero_ps();
      _mm512_mask_storeu_ps(y + 16 * v, mask, _mm512_add_ps(old, sums[v]));
    }
  }
}

template <typename Block, int kTokens>
void MultiplyTile(const Panel& panel, const TokenTile& x, int groups, const TileOutput& out) {
  using F = FormOf<Block>;
  constexpr int kSteps = F::kGroup / 4;
  __m512 sums[kTokens][2];
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) sums[t][0] = sums[t][1] = _mm512_setzero_ps();
  for (int g = 0; g < groups; ++g) {
    const int at = g * kPanelRows;
    __m512i dots[kTokens][2];
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        dots[t][v] =
            F::kMin ? _mm512_setzero_si512() : _mm512_load_si512(panel.starts + at + 16 * v);
      }
    }
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
      const uint8_t* w = panel.w + 4 * (g * kSteps + s) * kPanelRows;
      const __m512i weights[2] = {_mm512_load_si512(w), _mm512_load_si512(w + 64)};
#pragma GCC unroll 6
      for (int t = 0; t < kTokens; ++t) {
        const __m512i q = FourBytes(x.q[t] + 4 * (g * kSteps + s));
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
          dots[t][v] = F::kMin ? _mm512_dpbusd_epi32(dots[t][v], weights[v], q)
                               : _mm512_dpbusd_epi32(dots[t][v], q, weights[v]);
        }
      }
    }
    const __m512 scales[2] = {_mm512_load_ps(panel.scales + at),
                              _mm512_load_ps(panel.scales + at + 16)};
#pragma GCC unroll 6
    for (int t = 0; t < kTokens; ++t) {
      const __m512 scale = _mm512_set1_ps(x.scales[t][g * F::kGroup / 32]);
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        sums[t][v] = _mm512_fmadd_ps(_mm512_mul_ps(scales[v], scale),
                                     _mm512_cvtepi32_ps(dots[t][v]), sums[t][v]);
        if constexpr (F::kMin) {
          sums[t][v] = _mm512_fmadd_ps(_mm512_load_ps(panel.mins + at + 16 * v),
                                       _mm512_set1_ps(x.sums[t][g]), sums[t][v]);
        }
      }
    }
  }
#pragma GCC unroll 6
  for (int t = 0; t < kTokens; ++t) PutSums(out, t, sums[t]);
}

#else

constexpr int kTileRows = 16;  // of the panel's, at a time: what registers can hold

inline __m256i FourBytes(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  return _mm256_set1_epi32(four);
}

// Compilers that rearrange sums into trees run out of registers.
__attribute__((always_inline)) inline void KeepOrder(__m256i& sum) { asm("" : "+x"(sum)); }

// Products of kSteps dwords: unsigned weights of kBits so small that several sums of two products
// fit 16 bit, or signed bytes, whose sign goes to x.
template <int kBits, int kSteps, int kTokens>
__attribute__((always_inline)) inline void DotsOf(const uint8_t* w, const TokenTile& x, int column,
                                                  __m256i (&dots)[kTokens][2]) {
  // |q| <= 127, so a pair is at most 254 * (2^kBits - 1).
  constexpr int kFit = kBits == 0 || kBits > 6 ? 1 : kBits == 6 ? 2 : kBits == 5 ? 4 : 8;
  constexpr int kRun = kFit < kSteps ? kFit : kSteps;
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
  for (int begin = 0; begin < kSteps; begin += kRun) {
    __m256i pairs[kTokens][2];
#pragma GCC unroll 8
    for (int s = begin; s < begin + kRun; ++s) {
      const auto* row = reinterpret_cast<const __m256i*>(w + 4 * s * kPanelRows);
      const __m256i weights[2] = {_mm256_load_si256(row), _mm256_load_si256(row + 1)};
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256i q = FourBytes(x.q[t] + column + 4 * s);
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
          const __m256i products = kBits == 0
                                       ? _mm256_maddubs_epi16(_mm256_abs_epi8(weights[v]),
                                                              _mm256_sign_epi8(q, weights[v]))
                                       : _mm256_maddubs_epi16(weights[v], q);
          pairs[t][v] = s == begin ? products : _mm256_add_epi16(pairs[t][v], products);
          KeepOrder(pairs[t][v]);
        }
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const __m256i fours = _mm256_madd_epi16(pairs[t][v], ones);
        dots[t][v] = begin == 0 ? fours : _mm256_add_epi32(dots[t][v], fours);
        KeepOrder(dots[t][v]);
      }
    }
  }
}

template <typename Block, int kTokens>
__attribute__((always_inline)) inline void MultiplyHalf(const Panel& panel, const TokenTile& x,
                                                        int groups, int row,
                                                        float (&sums)[kTokens][kTileRows]) {
  using F = FormOf<Block>;
  constexpr int kSteps = F::kGroup / 4;
  for (int g = 0; g < groups; ++g) {
    const int at = g * kPanelRows + row;
    __m256i dots[kTokens][2];
    DotsOf<F::kBits, kSteps, kTokens>(panel.w + 4 * (g * kSteps * kPanelRows + row), x,
                                      g * F::kGroup, dots);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m256 scale = _mm256_set1_ps(x.scales[t][g * F::kGroup / 32]);
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        __m256 sum = _mm256_load_ps(sums[t] + 8 * v);
        sum = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_load_ps(panel.scales + at + 8 * v), scale),
                              _mm256_cvtepi32_ps(dots[t][v]), sum);
        if constexpr (F::kMin) {
          sum = _mm256_fmadd_ps(_mm256_load_ps(panel.mins + at + 8 * v),
                                _mm256_set1_ps(x.sums[t][g]), sum);
        }
        _mm256_store_ps(sums[t] + 8 * v, sum);
      }
    }
  }
}

template <typename Block, int kTokens>
void MultiplyTile(const Panel& panel, const TokenTile& x, int groups, const TileOutput& out) {
  for (int row = 0; row < out.rows; row += kTileRows) {
    alignas(32) float sums[kTokens][kTileRows] = {};
    MultiplyHalf<Block, kTokens>(panel, x, groups, row, sums);
    const int64_t count = Min(kTileRows, out.rows - row);
    for (int t = 0; t < kTokens; ++t) {
      float* y = out.y + t * out.stride + row;
      if (!out.add) {
        for (int64_t i = 0; i < count; ++i) y[i] = sums[t][i];
      } else {
        for (int64_t i = 0; i < count; ++i) y[i] += sums[t][i];
      }
    }
  }
}

#endif

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_TILE_INL_H_
