// Quantized weights as unsigned bytes in AVX-512 registers, for few_inl.h.
//
// A decoder takes a group of 256 weights (eight blocks of 32, or one of 256) where it lies, reads
// nothing outside of it, and gives four vectors of bytes w + kOffset, the scale of every 32-bit
// lane, and where a format has minima, those.  Which eight weights lie in which quadword is the
// decoder's to choose (`PieceOf`); the activations are put into the same order.  The formats:
// kernels/quant.h.
#ifndef LORIKEET_KERNELS_SIMD_FEW_512_INL_H_
#define LORIKEET_KERNELS_SIMD_FEW_512_INL_H_

#include "kernels/quant.h"
#include "kernels/simd/few_scales_inl.h"
#include "kernels/simd/unpack_inl.h"
#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

constexpr int kVectors = 4;  // of weights in a group
constexpr int kPieces = 8;   // quadwords of a vector

// A group's activations and weights are multiplied in `units` whose vectors add up in the same
// lanes.
// Vectors of scales: the sums of two units are brought together in one.
constexpr int ScaleVectorsOf(int) { return 1; }

// What a lane of a vector of scales belongs to.
struct Lane {
  int unit, quadword;
};
constexpr Lane LaneOf(int units, int, int lane) {
  if (units == 1) return {0, lane / 2};
  return {lane % 4 / 2, lane / 4 * 2 + lane % 2};
}

template <int kUnits>
struct Decoded {
  __m512i w[kVectors];
  __m512 scale[1];  // of the weights in each lane
  __m512 min[1];    // what is added to every weight
};

// The lanes of scales that belong to the row; the others are taken as 0.
template <int kUnits>
struct ValidLanes {
  __mmask16 lanes[1];
  void Add(int unit, int lane) { lanes[unit] = static_cast<__mmask16>(lanes[unit] | 1u << lane); }
};

inline __m512i Bytes64(const void* p) { return _mm512_loadu_si512(p); }
inline __m256i Bytes32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m512i Splat8(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
inline __m512 SplatHalf(const uint8_t* p) { return _mm512_set1_ps(HalfAt(p)); }

// A vector of integers computed when compiled.
template <typename Entry>
struct Table {
  alignas(64) Entry at[64 / sizeof(Entry)];
  __m512i vector() const { return _mm512_load_si512(at); }
};
using ByteTable = Table<uint8_t>;
using WordTable = Table<uint16_t>;
using LaneTable = Table<uint32_t>;
using QuadTable = Table<uint64_t>;

template <typename Entry, typename Of>
constexpr Table<Entry> MakeTable(Of of) {
  Table<Entry> table{};
  int i = 0;
  for (Entry& entry : table.at) entry = static_cast<Entry>(of(i++));
  return table;
}

// Low bits of `low`, the others of `high`.
inline __m512i Select(__m512i mask, __m512i low, __m512i high) {
  return _mm512_ternarylogic_epi64(mask, low, high, 0xCA);
}
inline __m512i LowNibbles(__m512i v) { return _mm512_and_si512(v, Splat8(15)); }
inline __m512i HighNibbles(__m512i v) { return LowNibbles(_mm512_srli_epi16(v, 4)); }

// Control bytes that fetch, for byte j of quadword k, the bits from bit_of(k, j) of the quadword on
// to bit `to` of the byte.
template <typename BitOf>
constexpr ByteTable MultishiftTable(int to, BitOf bit_of) {
  return MakeTable<uint8_t>([&](int i) { return (bit_of(i / 8, i % 8) - to) & 63; });
}

// Nibbles, and from bit 4 on what `table` fetches of `high`; kMask: the bits of a weight.
template <int kMask>
inline __m512i WithHigh(__m512i nibbles, __m512i high, const ByteTable& table) {
  const __m512i moved = _mm512_multishift_epi64_epi8(table.vector(), high);
  return _mm512_and_si512(Select(Splat8(15), nibbles, moved), Splat8(kMask));
}

// --- Blocks of 32 weights with 16 bytes of nibbles ---

// Two loads cover four blocks: their first and their last 64 bytes.
template <int kBlockBytes>
constexpr int FromTwoLoads(int byte) {
  return byte < 64 ? byte : 64 + byte - (4 * kBlockBytes - 64);
}

// kNibbles: where they begin in a block; kHigh: where four bytes of fifth bits begin, or 0.
template <int kBlockBytes, int kNibbles, int kHigh, bool kMin, int kZero>
struct NibbleBlocks {
  static constexpr int kUnits = 1;
  static constexpr int kGroupBytes = 8 * kBlockBytes;
  static constexpr int kBlockWeights = 32;
  static constexpr int kOffset = kZero;
  static constexpr bool kHasMin = kMin;
  static constexpr float kMinSign = 1.0f;
  static constexpr int SumOf(int lane) { return 2 * BlockOf(lane / 2) + lane % 2; }

  // Unpacking puts blocks 0, 4, 1, 5, ... side by side.
  static constexpr int BlockOf(int quadword) { return quadword % 2 * 4 + quadword / 2; }
  static constexpr int PieceOf(int vector, int quadword) { return BlockOf(quadword) * 4 + vector; }

  // A lane of four blocks' headers: the fifth bits twice, d and m twice.
  static constexpr ByteTable kHeaderTable = MakeTable<uint8_t>([](int i) {
    const int block = i / 16 * kBlockBytes;
    return FromTwoLoads<kBlockBytes>(block + (i % 16 < 8 ? kHigh + i % 4 : i % 4));
  });
  static constexpr WordTable DirectTable(int offset) {
    return MakeTable<uint16_t>([=](int i) {
      const int block = BlockOf(i % 16 / 2);
      return block % 4 * (kBlockBytes / 2) + offset + block / 4 * 32;
    });
  }
  template <int kVector>
  static constexpr ByteTable HighTable() {
    return MultishiftTable(4, [](int, int j) { return 8 * kVector + j; });
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<1> valid,
                                                           Decoded<1>& out) {
    static constexpr ByteTable kNibbleTable = MakeTable<uint8_t>(
        [](int i) { return FromTwoLoads<kBlockBytes>(i / 16 * kBlockBytes + kNibbles + i % 16); });
    static constexpr WordTable kScaleTable = DirectTable(0);
    static constexpr WordTable kMinTable = DirectTable(1);
    static constexpr ByteTable kHigh0 = HighTable<0>();
    static constexpr ByteTable kHigh1 = HighTable<1>();
    static constexpr ByteTable kHigh2 = HighTable<2>();
    static constexpr ByteTable kHigh3 = HighTable<3>();
    const __m512i a0 = Bytes64(p);
    const __m512i a1 = Bytes64(p + 4 * kBlockBytes - 64);
    const __m512i b0 = Bytes64(p + 4 * kBlockBytes);
    const __m512i b1 = Bytes64(p + 8 * kBlockBytes - 64);
    const __m512i nibbles = kNibbleTable.vector();
    const __m512i a = _mm512_permutex2var_epi8(a0, nibbles, a1);
    const __m512i b = _mm512_permutex2var_epi8(b0, nibbles, b1);
    const __m512i q0 = _mm512_unpacklo_epi64(a, b);
    const __m512i q1 = _mm512_unpackhi_epi64(a, b);
    __m256i d;
    __m256i m{};
    if constexpr (kHigh == 0) {
      out.w[0] = LowNibbles(q0);
      out.w[1] = LowNibbles(q1);
      out.w[2] = HighNibbles(q0);
      out.w[3] = HighNibbles(q1);
      d = _mm512_castsi512_si256(_mm512_permutex2var_epi16(a0, kScaleTable.vector(), b0));
      if constexpr (kMin) {
        m = _mm512_castsi512_si256(_mm512_permutex2var_epi16(a0, kMinTable.vector(), b0));
      }
    } else {
      const __m512i header = kHeaderTable.vector();
      const __m512i a_header = _mm512_permutex2var_epi8(a0, header, a1);
      const __m512i b_header = _mm512_permutex2var_epi8(b0, header, b1);
      const __m512i high = _mm512_unpacklo_epi64(a_header, b_header);
      const __m512i scales = _mm512_unpackhi_epi64(a_header, b_header);
      out.w[0] = WithHigh<31>(q0, high, kHigh0);
      out.w[1] = WithHigh<31>(q1, high, kHigh1);
      out.w[2] = WithHigh<31>(_mm512_srli_epi16(q0, 4), high, kHigh2);
      out.w[3] = WithHigh<31>(_mm512_srli_epi16(q1, 4), high, kHigh3);
      d = _mm512_cvtepi32_epi16(scales);
      if constexpr (kMin) m = _mm512_cvtepi32_epi16(_mm512_srli_epi32(scales, 16));
    }
    out.scale[0] = _mm512_maskz_cvtph_ps(valid.lanes[0], d);
    if constexpr (kMin) out.min[0] = _mm512_maskz_cvtph_ps(valid.lanes[0], m);
  }
};

using FewQ4_0 = NibbleBlocks<18, 2, 0, false, 8>;
using FewQ4_1 = NibbleBlocks<20, 4, 0, true, 0>;
using FewQ5_0 = NibbleBlocks<22, 6, 2, false, 16>;
using FewQ5_1 = NibbleBlocks<24, 8, 4, true, 0>;

struct FewIq4Nl : NibbleBlocks<18, 2, 0, false, 128> {
  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<1> valid,
                                                           Decoded<1>& out) {
    static constexpr ByteTable kValues =
        MakeTable<uint8_t>([](int i) { return kIq4NlValues[i % 16] + 128; });
    NibbleBlocks::Decode(p, valid, out);
    const __m512i values = kValues.vector();
    for (__m512i& w : out.w) w = _mm512_shuffle_epi8(values, w);
  }
};

struct FewQ8_0 {
  static constexpr int kUnits = 2;
  static constexpr int kGroupBytes = 8 * 34;
  static constexpr int kBlockWeights = 32;
  static constexpr int kOffset = 128;
  static constexpr bool kHasMin = false;
  static constexpr float kMinSign = -1.0f;
  static constexpr int SumOf(int lane) { return lane; }

  // Vectors of two blocks each are unpacked in pairs, quadword by quadword.
  static constexpr int BlockOf(int unit, int quadword) {
    return 4 * unit + 2 * (quadword % 2) + quadword / 4;
  }
  static constexpr int PieceOf(int vector, int quadword) {
    return BlockOf(vector / 2, quadword) * 4 + quadword / 2 % 2 * 2 + vector % 2;
  }

  static inline __m512i TwoBlocks(const uint8_t* p) {
    const __m512i two =
        _mm512_inserti64x4(_mm512_castsi256_si512(Bytes32(p + 2)), Bytes32(p + 36), 1);
    return _mm512_xor_si512(two, Splat8(128));
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<2> valid,
                                                           Decoded<2>& out) {
    // Blocks 0, 1 (4, 5) of a unit lie in the first operand, 2, 3 (6, 7) in the second.
    static constexpr WordTable kScaleTable = MakeTable<uint16_t>([](int i) {
      const int block = BlockOf(0, LaneOf(2, 0, i % 16).quadword);
      return block / 2 * 32 + block % 2 * 17;
    });
    __m256i d[2];
#pragma GCC unroll 2
    for (int u = 0; u < 2; ++u) {
      const uint8_t* four = p + 4 * 34 * u;
      const __m512i a = TwoBlocks(four);
      const __m512i b = TwoBlocks(four + 68);
      out.w[2 * u] = _mm512_unpacklo_epi64(a, b);
      out.w[2 * u + 1] = _mm512_unpackhi_epi64(a, b);
      d[u] = _mm512_castsi512_si256(
          _mm512_permutex2var_epi16(Bytes64(four), kScaleTable.vector(), Bytes64(four + 68)));
    }
    const __m256i both = _mm256_blend_epi32(d[0], d[1], 0b10101010);
    out.scale[0] = _mm512_maskz_cvtph_ps(valid.lanes[0], both);
  }
};

// --- Blocks of 256 weights ---

// What they have in common: always whole, minima in the order of the weights, a pair per 32.
template <int kBytes, int kZero, bool kMin>
struct SuperBlock {
  static constexpr int kUnits = 2;
  static constexpr int kGroupBytes = kBytes;
  static constexpr int kBlockWeights = 256;
  static constexpr int kOffset = kZero;
  static constexpr bool kHasMin = kMin;
  static constexpr float kMinSign = -1.0f;
  static constexpr int SumOf(int lane) { return lane; }
};

// Scales and minima, times d and dmin, of the eight groups of Q4_K and Q5_K, in turn.
inline __m512 ScalesMinsQ4K(const uint8_t* p) {
  const ScalesMins bytes = ScalesMinsOfQ4K(p + 4);
  const __m128i both = _mm_unpacklo_epi8(_mm_cvtsi64_si128(static_cast<int64_t>(bytes.scales)),
                                         _mm_cvtsi64_si128(static_cast<int64_t>(bytes.mins)));
  const __m512 d = _mm512_cvtph_ps(_mm256_set1_epi32(static_cast<int>(Word32(p))));
  return _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(both)));
}

// Nibbles of Q4_K and Q5_K: chunk c of 32 bytes holds group 2c (low) and 2c + 1 (high).
struct ChunksQ4K {
  static constexpr int ChunkOf(int quadword) { return quadword % 2 * 2 + quadword / 4; }
  static constexpr int GroupOf(int unit, int quadword) { return 2 * ChunkOf(quadword) + unit; }
  static constexpr int PieceOf(int vector, int quadword) {
    return GroupOf(vector / 2, quadword) * 4 + quadword / 2 % 2 * 2 + vector % 2;
  }
  static constexpr LaneTable ScaleTable() {
    return MakeTable<uint32_t>([](int i) {
      const Lane lane = LaneOf(2, 0, i);
      return 2 * GroupOf(lane.unit, lane.quadword);
    });
  }
};

struct FewQ4_K : SuperBlock<144, 0, true>, ChunksQ4K {
  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<2>,
                                                           Decoded<2>& out) {
    static constexpr LaneTable kScales = ScaleTable();
    const __m512i a = Bytes64(p + 16);
    const __m512i b = Bytes64(p + 80);
    const __m512i q0 = _mm512_unpacklo_epi64(a, b);
    const __m512i q1 = _mm512_unpackhi_epi64(a, b);
    out.w[0] = LowNibbles(q0);
    out.w[1] = LowNibbles(q1);
    out.w[2] = HighNibbles(q0);
    out.w[3] = HighNibbles(q1);
    const __m512 scales = ScalesMinsQ4K(p);
    out.scale[0] = _mm512_permutexvar_ps(kScales.vector(), scales);
    out.min[0] = _mm512_movehdup_ps(scales);
  }
};

struct FewQ5_K : SuperBlock<176, 0, true>, ChunksQ4K {
  static constexpr ByteTable HighTable(int unit) {
    return MultishiftTable(4, [=](int k, int j) { return 8 * j + GroupOf(unit, k); });
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<2>,
                                                           Decoded<2>& out) {
    static constexpr LaneTable kScales = ScaleTable();
    static constexpr ByteTable kHigh0 = HighTable(0);
    static constexpr ByteTable kHigh1 = HighTable(1);
    const __m512i a = Bytes64(p + 48);
    const __m512i b = Bytes64(p + 112);
    const __m512i q0 = _mm512_unpacklo_epi64(a, b);
    const __m512i q1 = _mm512_unpackhi_epi64(a, b);
    const __m512i high = _mm512_broadcast_i64x4(Bytes32(p + 16));
    const __m512i h0 = _mm512_unpacklo_epi64(high, high);
    const __m512i h1 = _mm512_unpackhi_epi64(high, high);
    out.w[0] = WithHigh<31>(q0, h0, kHigh0);
    out.w[1] = WithHigh<31>(q1, h1, kHigh0);
    out.w[2] = WithHigh<31>(_mm512_srli_epi16(q0, 4), h0, kHigh1);
    out.w[3] = WithHigh<31>(_mm512_srli_epi16(q1, 4), h1, kHigh1);
    const __m512 scales = ScalesMinsQ4K(p);
    out.scale[0] = _mm512_permutexvar_ps(kScales.vector(), scales);
    out.min[0] = _mm512_movehdup_ps(scales);
  }
};

struct FewQ6_K : SuperBlock<210, 32, false> {
  // The halves of a block are unpacked together, quadword by quadword.
  static constexpr int GroupOf(int unit, int quadword) {
    return 8 * (quadword % 2) + 4 * unit + quadword / 2;
  }
  static constexpr int PieceOf(int vector, int quadword) {
    return 2 * GroupOf(vector / 2, quadword) + vector % 2;
  }
  static constexpr LaneTable ScaleTable() {
    return MakeTable<uint32_t>([](int i) {
      const Lane lane = LaneOf(2, 0, i);
      return GroupOf(lane.unit, lane.quadword);
    });
  }
  static constexpr QuadTable HighQuads(int odd) {
    return MakeTable<uint64_t>([=](int k) { return 4 * (k % 2) + k / 2 % 2 * 2 + odd; });
  }
  static constexpr ByteTable HighTable(int unit) {
    return MultishiftTable(4, [=](int k, int j) { return 8 * j + 4 * unit + k / 4 * 2; });
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<2>,
                                                           Decoded<2>& out) {
    static constexpr LaneTable kScales = ScaleTable();
    static constexpr QuadTable kQuads0 = HighQuads(0);
    static constexpr QuadTable kQuads1 = HighQuads(1);
    static constexpr ByteTable kHigh0 = HighTable(0);
    static constexpr ByteTable kHigh1 = HighTable(1);
    const __m512i a = Bytes64(p);
    const __m512i b = Bytes64(p + 64);
    const __m512i high = Bytes64(p + 128);
    const __m512i q0 = _mm512_unpacklo_epi64(a, b);
    const __m512i q1 = _mm512_unpackhi_epi64(a, b);
    const __m512i h0 = _mm512_permutexvar_epi64(kQuads0.vector(), high);
    const __m512i h1 = _mm512_permutexvar_epi64(kQuads1.vector(), high);
    out.w[0] = WithHigh<63>(q0, h0, kHigh0);
    out.w[1] = WithHigh<63>(q1, h1, kHigh0);
    out.w[2] = WithHigh<63>(_mm512_srli_epi16(q0, 4), h0, kHigh1);
    out.w[3] = WithHigh<63>(_mm512_srli_epi16(q1, 4), h1, kHigh1);
    const __m512 scales = _mm512_mul_ps(
        SplatHalf(p + 208), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(LoadBytes(p + 192))));
    out.scale[0] = _mm512_permutexvar_ps(kScales.vector(), scales);
  }
};

// Two-bit weights of Q2_K and Q3_K: each quadword of 64 bytes holds pieces of four groups; two
// copies of it side by side give two at a time.
struct PairsQ2K {
  static constexpr int ShiftOf(int unit, int quadword) { return 2 * unit + quadword % 2; }
  static constexpr int GroupOf(int unit, int quadword) {
    return 8 * (quadword / 4) + 2 * ShiftOf(unit, quadword) + quadword / 2 % 2;
  }
  static constexpr int PieceOf(int vector, int quadword) {
    return 2 * GroupOf(vector / 2, quadword) + vector % 2;
  }
  static constexpr LaneTable ScaleTable() {
    return MakeTable<uint32_t>([](int i) {
      const Lane lane = LaneOf(2, 0, i);
      return GroupOf(lane.unit, lane.quadword);
    });
  }
  static constexpr ByteTable LowTable(int unit) {
    return MultishiftTable(0, [=](int k, int j) { return 8 * j + 2 * ShiftOf(unit, k); });
  }
};

struct FewQ2_K : SuperBlock<84, 0, true>, PairsQ2K {
  static inline __m512i Two(__m512i q, const ByteTable& table) {
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(table.vector(), q), Splat8(3));
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<2>,
                                                           Decoded<2>& out) {
    static constexpr LaneTable kScales = ScaleTable();
    static constexpr ByteTable kLow0 = LowTable(0);
    static constexpr ByteTable kLow1 = LowTable(1);
    const __m512i q = Bytes64(p + 16);
    const __m512i q0 = _mm512_unpacklo_epi64(q, q);
    const __m512i q1 = _mm512_unpackhi_epi64(q, q);
    out.w[0] = Two(q0, kLow0);
    out.w[1] = Two(q1, kLow0);
    out.w[2] = Two(q0, kLow1);
    out.w[3] = Two(q1, kLow1);
    const __m512i both = _mm512_cvtepu8_epi32(LoadBytes(p));
    const __m512 scales = _mm512_mul_ps(
        SplatHalf(p + 80), _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15))));
    out.scale[0] = _mm512_permutexvar_ps(kScales.vector(), scales);
    out.min[0] = _mm512_mul_ps(SplatHalf(p + 82), _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4)));
  }
};

struct FewQ3_K : SuperBlock<110, 4, false>, PairsQ2K {
  static constexpr ByteTable HighTable(int unit) {
    return MultishiftTable(2, [=](int k, int j) { return 8 * j + k / 4 * 4 + ShiftOf(unit, k); });
  }

  static inline __m512i Three(__m512i q, const ByteTable& low, __m512i high,
                              const ByteTable& third) {
    const __m512i two = _mm512_multishift_epi64_epi8(low.vector(), q);
    const __m512i moved = _mm512_multishift_epi64_epi8(third.vector(), high);
    return _mm512_and_si512(Select(Splat8(3), two, moved), Splat8(7));
  }

  static __attribute__((always_inline)) inline void Decode(const uint8_t* p, ValidLanes<2>,
                                                           Decoded<2>& out) {
    static constexpr LaneTable kScales = ScaleTable();
    static constexpr ByteTable kLow0 = LowTable(0);
    static constexpr ByteTable kLow1 = LowTable(1);
    static constexpr ByteTable kHigh0 = HighTable(0);
    static constexpr ByteTable kHigh1 = HighTable(1);
    const __m512i q = Bytes64(p + 32);
    const __m512i q0 = _mm512_unpacklo_epi64(q, q);
    const __m512i q1 = _mm512_unpackhi_epi64(q, q);
    const __m512i high = _mm512_broadcast_i64x4(Bytes32(p));
    const __m512i h0 = _mm512_unpacklo_epi64(high, high);
    const __m512i h1 = _mm512_unpackhi_epi64(high, high);
    out.w[0] = Three(q0, kLow0, h0, kHigh0);
    out.w[1] = Three(q1, kLow0, h1, kHigh0);
    out.w[2] = Three(q0, kLow1, h0, kHigh1);
    out.w[3] = Three(q1, kLow1, h1, kHigh1);
    const __m512 scales = _mm512_mul_ps(
        SplatHalf(p + 108), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(ScalesOfQ3K(p + 96))));
    out.scale[0] = _mm512_permutexvar_ps(kScales.vector(), scales);
  }
};

// --- Products ---

// The products of a group's weights and x, added up by the lanes of scales.
template <typename Format>
__attribute__((always_inline)) inline Vf Dots(const __m512i* w, const int8_t* x,
                                              const int32_t* start, int) {
  constexpr int kUnitVectors = kVectors / Format::kUnits;
  __m512i sums[Format::kUnits];
#pragma GCC unroll 2
  for (int u = 0; u < Format::kUnits; ++u) {
    sums[u] = Format::kOffset != 0 ? _mm512_load_si512(start + kLanes * u) : _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int v = u * kUnitVectors; v < (u + 1) * kUnitVectors; ++v) {
      sums[u] = _mm512_dpbusd_epi32(sums[u], w[v], _mm512_load_si512(x + 64 * v));
    }
  }
  if constexpr (Format::kUnits == 1) return _mm512_cvtepi32_ps(sums[0]);
  const __m512 a = _mm512_castsi512_ps(sums[0]);
  const __m512 b = _mm512_castsi512_ps(sums[Format::kUnits - 1]);
  return _mm512_cvtepi32_ps(
      _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0))),
                       _mm512_castps_si512(_mm512_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)))));
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_FEW_512_INL_H_
