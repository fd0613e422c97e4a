// Quantized weights as bytes in AVX2 registers, for few_inl.h.
//
// What few_512_inl.h does, with vectors half as wide and twice as many: unsigned bytes w + kOffset
// where their products with activations fit 16 bits, signed ones (`kSigned`) where they do not. The
// formats: kernels/quant.h.
#ifndef LORIKEET_KERNELS_SIMD_FEW_256_INL_H_
#define LORIKEET_KERNELS_SIMD_FEW_256_INL_H_

#include "kernels/quant.h"
#include "kernels/simd/few_scales_inl.h"
#include "kernels/simd/unpack_inl.h"
#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

constexpr int kVectors = 8;  // of weights in a group of 256
constexpr int kPieces = 4;   // quadwords of a vector

// Vectors of scales, and what a lane of one belongs to.
constexpr int ScaleVectorsOf(int units) { return units; }
struct Lane {
  int unit, quadword;
};
constexpr Lane LaneOf(int, int vector, int lane) { return {vector, lane / 2}; }

template <int kUnits>
struct Decoded {
  __m256i w[kVectors];
  __m256 scale[kUnits];  // of the weights in each lane
  __m256 min[2];         // what is added to every weight
};

// The lanes of scales that belong to the row; the others are taken as 0.
template <int kUnits>
struct ValidLanes {
  alignas(32) int32_t lanes[kUnits][kLanes];
  void Add(int unit, int lane) { lanes[unit][lane] = -1; }
  __m256 Only(int unit, __m256 scales) const {
    return _mm256_and_ps(scales, _mm256_load_ps(reinterpret_cast<const float*>(lanes[unit])));
  }
};

inline __m256i Bytes32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m256i Splat8(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
inline __m256 SplatHalf(const uint8_t* p) { return _mm256_set1_ps(HalfAt(p)); }
inline __m256i LowNibbles(__m256i v) { return _mm256_and_si256(v, Splat8(15)); }
inline __m256i HighNibbles(__m256i v) { return LowNibbles(_mm256_srli_epi16(v, 4)); }
inline __m256i Quads(int64_t a, int64_t b) { return _mm256_set_epi64x(b, a, b, a); }

// `value` in the bytes of which `v` has a bit of `bits`, each byte of which has one bit.
template <int kValue>
inline __m256i IfBit(__m256i v, __m256i bits) {
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(v, bits), bits), Splat8(kValue));
}
inline int64_t EightBytes(int byte) {
  return static_cast<int64_t>(0x0101010101010101ULL * static_cast<unsigned>(byte));
}

// --- Blocks of 32 weights with 16 bytes of nibbles ---

// kNibbles: where they begin in a block; kHigh: where four bytes of fifth bits begin, or 0.
template <int kBlockBytes, int kNibbles, int kHigh, bool kMin, int kZero>
struct NibbleBlocks {
  static constexpr int kUnits = 2;
  static constexpr int kGroupBytes = 8 * kBlockBytes;
  static constexpr int kBlockWeights = 32;
  static constexpr int kOffset = kZero;
  static constexpr bool kSigned = false;
  static constexpr bool kHasMin = kMin;
  static constexpr float kMinSign = 1.0f;

  // Unpacking puts blocks 0, 2 and 1, 3 side by side.
  static constexpr int BlockOf(int unit, int quadword) {
    return 4 * unit + quadword % 2 * 2 + quadword / 2;
  }
  static constexpr int PieceOf(int vector, int quadword) {
    return BlockOf(vector / 4, quadword) * 4 + vector % 4;
  }
  static constexpr int SumOf(int lane) { return 2 * BlockOf(lane / 8, lane % 8 / 2) + lane % 2; }

  // Of four blocks, in the order of the quadwords: 32 bits at `offset` of each.
  static inline __m128i Words(const uint8_t* p, int offset) {
    const uint8_t* at = p + offset;
    return _mm_set_epi32(
        static_cast<int>(Word32(at + 3 * kBlockBytes)), static_cast<int>(Word32(at + kBlockBytes)),
        static_cast<int>(Word32(at + 2 * kBlockBytes)), static_cast<int>(Word32(at)));
  }
  static inline __m256i TwoBlocks(const uint8_t* p) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(LoadBytes(p + kNibbles)),
                                   LoadBytes(p + kBlockBytes + kNibbles), 1);
  }
  // The fifth bits of eight weights, from byte `piece` of every quadword.
  static inline __m256i High(__m256i high, int piece) {
    const __m256i bytes =
        _mm256_shuffle_epi8(high, Quads(EightBytes(piece), EightBytes(8 + piece)));
    return IfBit<16>(bytes, _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201ULL)));
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p,
                                                           const ValidLanes<2>& valid,
                                                           Decoded<2>& out) {
#pragma GCC unroll 2
    for (int u = 0; u < 2; ++u) {
      const uint8_t* four = p + 4 * kBlockBytes * u;
      const __m256i a = TwoBlocks(four);
      const __m256i b = TwoBlocks(four + 2 * kBlockBytes);
      const __m256i q0 = _mm256_unpacklo_epi64(a, b);
      const __m256i q1 = _mm256_unpackhi_epi64(a, b);
      __m256i* w = out.w + 4 * u;
      w[0] = LowNibbles(q0);
      w[1] = LowNibbles(q1);
      w[2] = HighNibbles(q0);
      w[3] = HighNibbles(q1);
      if constexpr (kHigh != 0) {
        const __m256i high = _mm256_cvtepu32_epi64(Words(four, kHigh));
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) w[v] = _mm256_or_si256(w[v], High(high, v));
      }
      const __m256 headers = _mm256_cvtph_ps(Words(four, 0));
      out.scale[u] = valid.Only(u, _mm256_moveldup_ps(headers));
      if constexpr (kMin) out.min[u] = valid.Only(u, _mm256_movehdup_ps(headers));
    }
  }
};

using FewQ4_0 = NibbleBlocks<18, 2, 0, false, 8>;
using FewQ4_1 = NibbleBlocks<20, 4, 0, true, 0>;
using FewQ5_0 = NibbleBlocks<22, 6, 2, false, 16>;
using FewQ5_1 = NibbleBlocks<24, 8, 4, true, 0>;

struct FewIq4Nl : NibbleBlocks<18, 2, 0, false, 0> {
  static constexpr bool kSigned = true;

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p,
                                                           const ValidLanes<2>& valid,
                                                           Decoded<2>& out) {
    NibbleBlocks::Decode(p, valid, out);
    const __m256i values = _mm256_broadcastsi128_si256(LoadBytes(kIq4NlValues));
    for (__m256i& w : out.w) w = _mm256_shuffle_epi8(values, w);
  }
};

struct FewQ8_0 {
  static constexpr int kUnits = 4;
  static constexpr int kGroupBytes = 8 * 34;
  static constexpr int kBlockWeights = 32;
  static constexpr int kOffset = 0;
  static constexpr bool kSigned = true;
  static constexpr bool kHasMin = false;
  static constexpr float kMinSign = 1.0f;
  static constexpr int PieceOf(int vector, int quadword) {
    return (vector / 2 * 2 + quadword % 2) * 4 + quadword / 2 * 2 + vector % 2;
  }
  static constexpr int SumOf(int lane) { return lane; }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p,
                                                           const ValidLanes<4>& valid,
                                                           Decoded<4>& out) {
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u, p += 68) {
      const __m256i a = Bytes32(p + 2);
      const __m256i b = Bytes32(p + 36);
      out.w[2 * u] = _mm256_unpacklo_epi64(a, b);
      out.w[2 * u + 1] = _mm256_unpackhi_epi64(a, b);
      const uint32_t halves = (Word32(p) & 0xffff) | Word32(p + 34) << 16;
      const __m128i spread = _mm_set1_epi32(static_cast<int>(halves));
      out.scale[u] = valid.Only(u, _mm256_cvtph_ps(_mm_unpacklo_epi16(spread, spread)));
    }
  }
};

// --- Blocks of 256 weights, always whole ---

template <int kBytes, int kZero, bool kMin>
struct SuperBlock {
  static constexpr int kUnits = 4;
  static constexpr int kGroupBytes = kBytes;
  static constexpr int kBlockWeights = 256;
  static constexpr int kOffset = kZero;
  static constexpr bool kSigned = false;
  static constexpr bool kHasMin = kMin;
  static constexpr float kMinSign = -1.0f;
  static constexpr int SumOf(int lane) { return lane; }
};

// d times scales[kFirst + lane], and so on, for the two units that share eight scales.
inline __m256 FloatsOfEight(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

// Units 2h and 2h + 1 are the low and the high nibbles of chunks 2h and 2h + 1 of 32 bytes: of
// groups 4h, 4h + 2 and 4h + 1, 4h + 3.
struct ChunksQ4K {
  static constexpr int PieceOf(int vector, int quadword) {
    const int unit = vector / 2;
    const int group = unit / 2 * 4 + quadword % 2 * 2 + unit % 2;
    return group * 4 + quadword / 2 * 2 + vector % 2;
  }

  // Scales and minima, times d and dmin, of the eight groups in turn.
  static inline void Scales(const uint8_t* p, Decoded<4>& out) {
    const ScalesMins bytes = ScalesMinsOfQ4K(p + 4);
    const __m128i both = _mm_unpacklo_epi8(_mm_cvtsi64_si128(static_cast<int64_t>(bytes.scales)),
                                           _mm_cvtsi64_si128(static_cast<int64_t>(bytes.mins)));
    const __m256 d = _mm256_cvtph_ps(_mm_set1_epi32(static_cast<int>(Word32(p))));
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256 scales =
          _mm256_mul_ps(d, FloatsOfEight(h == 0 ? both : _mm_srli_si128(both, 8)));
      out.scale[2 * h] =
          _mm256_permutevar8x32_ps(scales, _mm256_setr_epi32(0, 0, 4, 4, 0, 0, 4, 4));
      out.scale[2 * h + 1] =
          _mm256_permutevar8x32_ps(scales, _mm256_setr_epi32(2, 2, 6, 6, 2, 2, 6, 6));
      out.min[h] = _mm256_movehdup_ps(scales);
    }
  }

  static inline void Nibbles(const uint8_t* q, Decoded<4>& out) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256i a = Bytes32(q + 64 * h);
      const __m256i b = Bytes32(q + 64 * h + 32);
      const __m256i q0 = _mm256_unpacklo_epi64(a, b);
      const __m256i q1 = _mm256_unpackhi_epi64(a, b);
      out.w[4 * h] = LowNibbles(q0);
      out.w[4 * h + 1] = LowNibbles(q1);
      out.w[4 * h + 2] = HighNibbles(q0);
      out.w[4 * h + 3] = HighNibbles(q1);
    }
  }
};

struct FewQ4_K : SuperBlock<144, 0, true>, ChunksQ4K {
  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, const ValidLanes<4>&,
                                                           Decoded<4>& out) {
    Nibbles(p + 16, out);
    Scales(p, out);
  }
};

struct FewQ5_K : SuperBlock<176, 0, true>, ChunksQ4K {
  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, const ValidLanes<4>&,
                                                           Decoded<4>& out) {
    Nibbles(p + 48, out);
    const __m256i high = Bytes32(p + 16);
    const __m256i h[2] = {_mm256_unpacklo_epi64(high, high), _mm256_unpackhi_epi64(high, high)};
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int first = PieceOf(v, 0) / 4;
      const int second = PieceOf(v, 1) / 4;
      const __m256i bits = Quads(EightBytes(1 << first), EightBytes(1 << second));
      out.w[v] = _mm256_or_si256(out.w[v], IfBit<16>(h[v % 2], bits));
    }
    Scales(p, out);
  }
};

// Scales of units 2h and 2h + 1 from those of groups 8h ... 8h + 7, times d.
inline void SpreadScales(__m256 d, __m128i bytes, __m256i first, __m256i second, Decoded<4>& out) {
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const __m256 scales =
        _mm256_mul_ps(d, FloatsOfEight(h == 0 ? bytes : _mm_srli_si128(bytes, 8)));
    out.scale[2 * h] = _mm256_permutevar8x32_ps(scales, first);
    out.scale[2 * h + 1] = _mm256_permutevar8x32_ps(scales, second);
  }
}

struct FewQ6_K : SuperBlock<210, 32, false> {
  // Of half h, the low nibbles are unit 2h: groups 0, 2 and 1, 3; the high ones 4, 6 and 5, 7.
  static constexpr int PieceOf(int vector, int quadword) {
    const int unit = vector / 2;
    const int group = unit / 2 * 8 + unit % 2 * 4 + quadword % 2 * 2 + quadword / 2;
    return group * 2 + vector % 2;
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, const ValidLanes<4>&,
                                                           Decoded<4>& out) {
    const __m256i left = Quads(4, 2);
    const __m256i right = Quads(0, 2);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i a = Bytes32(p + 64 * half);
      const __m256i b = Bytes32(p + 64 * half + 32);
      const __m256i high = Bytes32(p + 128 + 32 * half);
      const __m256i q[2] = {_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)};
      const __m256i h[2] = {_mm256_unpacklo_epi64(high, high), _mm256_unpackhi_epi64(high, high)};
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const __m256i low = _mm256_and_si256(_mm256_sllv_epi64(h[v], left), Splat8(0x30));
        const __m256i top = _mm256_and_si256(_mm256_srlv_epi64(h[v], right), Splat8(0x30));
        out.w[4 * half + v] = _mm256_or_si256(LowNibbles(q[v]), low);
        out.w[4 * half + 2 + v] = _mm256_or_si256(HighNibbles(q[v]), top);
      }
    }
    SpreadScales(SplatHalf(p + 208), LoadBytes(p + 192), _mm256_setr_epi32(0, 0, 2, 2, 1, 1, 3, 3),
                 _mm256_setr_epi32(4, 4, 6, 6, 5, 5, 7, 7), out);
  }
};

// Two-bit weights of Q2_K and Q3_K: each quadword of 32 bytes holds pieces of four groups; two
// copies of it side by side give two at a time.
struct PairsQ2K {
  static constexpr int ShiftOf(int unit, int quadword) { return unit % 2 * 2 + quadword % 2; }
  static constexpr int GroupOf(int unit, int quadword) {
    return unit / 2 * 8 + ShiftOf(unit, quadword) * 2 + quadword / 2;
  }
  static constexpr int PieceOf(int vector, int quadword) {
    return GroupOf(vector / 2, quadword) * 2 + vector % 2;
  }

  static inline void Pairs(const uint8_t* p, Decoded<4>& out) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i q = Bytes32(p + 32 * half);
      const __m256i q0 = _mm256_unpacklo_epi64(q, q);
      const __m256i q1 = _mm256_unpackhi_epi64(q, q);
#pragma GCC unroll 2
      for (int u = 0; u < 2; ++u) {
        const __m256i shift = Quads(4 * u, 4 * u + 2);
        __m256i* w = out.w + 4 * half + 2 * u;
        w[0] = _mm256_and_si256(_mm256_srlv_epi64(q0, shift), Splat8(3));
        w[1] = _mm256_and_si256(_mm256_srlv_epi64(q1, shift), Splat8(3));
      }
    }
  }
  static inline void Scales(__m256 d, __m128i bytes, Decoded<4>& out) {
    SpreadScales(d, bytes, _mm256_setr_epi32(0, 0, 2, 2, 1, 1, 3, 3),
                 _mm256_setr_epi32(4, 4, 6, 6, 5, 5, 7, 7), out);
  }
};

struct FewQ2_K : SuperBlock<84, 0, true>, PairsQ2K {
  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, const ValidLanes<4>&,
                                                           Decoded<4>& out) {
    Pairs(p + 16, out);
    const __m128i both = LoadBytes(p);
    const __m128i low = _mm_set1_epi8(15);
    Scales(SplatHalf(p + 80), _mm_and_si128(both, low), out);
    const __m128i mins = _mm_and_si128(_mm_srli_epi16(both, 4), low);
    const __m256 dmin = SplatHalf(p + 82);
    out.min[0] = _mm256_mul_ps(dmin, FloatsOfEight(mins));
    out.min[1] = _mm256_mul_ps(dmin, FloatsOfEight(_mm_srli_si128(mins, 8)));
  }
};

struct FewQ3_K : SuperBlock<110, 4, false>, PairsQ2K {
  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, const ValidLanes<4>&,
                                                           Decoded<4>& out) {
    Pairs(p + 32, out);
    const __m256i high = Bytes32(p);
    const __m256i h[2] = {_mm256_unpacklo_epi64(high, high), _mm256_unpackhi_epi64(high, high)};
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int bit = v / 4 * 4 + ShiftOf(v / 2, 0);
      const __m256i bits = Quads(EightBytes(1 << bit), EightBytes(2 << bit));
      out.w[v] = _mm256_or_si256(out.w[v], IfBit<4>(h[v % 2], bits));
    }
    Scales(SplatHalf(p + 108), ScalesOfQ3K(p + 96), out);
  }
};

// --- Products ---

// The products of a unit's weights and x, added up by fours.
template <typename Format>
__attribute__((always_inline)) inline Vf Dots(const __m256i* w, const int8_t* x,
                                              const int32_t* start, int unit) {
  constexpr int kCount = kVectors / Format::kUnits;
  w += unit * kCount;
  x += unit * kCount * 32;
  start += unit * kLanes;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sum = _mm256_setzero_si256();
  if constexpr (Format::kSigned) {
    // Both signs in x: the instruction wants one unsigned factor.
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) {
      const __m256i signed_x = _mm256_sign_epi8(Bytes32(x + 32 * v), w[v]);
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w[v]), signed_x);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  } else {
    // Weights below 32 (64) times 127, two (a pair) times four (two) vectors, fit 16 bits.
    __m256i pairs = _mm256_maddubs_epi16(w[0], Bytes32(x));
#pragma GCC unroll 4
    for (int v = 1; v < kCount; ++v) {
      pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w[v], Bytes32(x + 32 * v)));
    }
    sum = _mm256_madd_epi16(pairs, ones);
    if constexpr (Format::kOffset != 0) sum = _mm256_add_epi32(sum, Bytes32(start));
  }
  return _mm256_cvtepi32_ps(sum);
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_FEW_256_INL_H_
