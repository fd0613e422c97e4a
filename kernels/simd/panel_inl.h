// A panel: a slice of 32 rows of quantized weights as bytes that integer instructions take, with a
// scale (and what the product needs besides) per group and row.  It lies on the stack and in the
// first-level cache, and is used for every row of x.
//
// A weight is scale * (u - center), or scale * u + min.  With AVX-512 what is kept of the former is
// the signed u - center, times activations made unsigned by adding 128, and the sums start at -128
// times the sum of the weights.  With AVX2, whose products saturate at 16 bit, it is the unsigned
// u, the center becoming a min; only weights of 8 bit are kept signed.
#ifndef LORIKEET_KERNELS_SIMD_PANEL_INL_H_
#define LORIKEET_KERNELS_SIMD_PANEL_INL_H_

#include "kernels/quant.h"
#include "kernels/simd/vec_inl.h"

namespace lorikeet {
namespace {

constexpr int kPanelRows = 32;
constexpr int kSlice = 512;  // columns; a multiple of every block's length

typedef uint32_t Vu __attribute__((vector_size(kVecBytes)));
typedef int8_t Vb __attribute__((vector_size(kVecBytes)));
typedef uint32_t VuAnywhere __attribute__((vector_size(kVecBytes), aligned(4), may_alias));

// Byte k % 4 of dword [k / 4][row] is the weight in column k; the rest is [group][row].
struct Panel {
  alignas(64) uint8_t w[kSlice * kPanelRows];
  alignas(64) float scales[kSlice / 16 * kPanelRows];
  alignas(64) float mins[kSlice / 16 * kPanelRows];
  alignas(64) int32_t starts[kSlice / 16 * kPanelRows];
};

// What the kernels must know of a format.
template <int kBlockColumns, int kGroupColumns, int kUnsignedBits, int kValueOfZero, bool kWithMin>
struct Form {
  static constexpr int kColumns = kBlockColumns;
  static constexpr int kGroup = kGroupColumns;  // that share a scale
  static constexpr int kBits = kUnsignedBits;   // of u; 0: signed bytes
  static constexpr int kCenter = kValueOfZero;
  // Which of the ways above this instruction set goes.
#ifdef LORIKEET_SIMD_512
  static constexpr bool kMin = kWithMin;
  static constexpr bool kUnsignedTokens = !kWithMin;
#else
  static constexpr bool kMin = kUnsignedBits != 0;
  static constexpr bool kUnsignedTokens = false;
#endif
};

template <typename Block>
struct FormOf;
template <>
struct FormOf<BlockQ8_0> : Form<32, 32, 0, 0, false> {};
template <>
struct FormOf<BlockIq4Nl> : Form<32, 32, 0, 0, false> {};
template <>
struct FormOf<BlockQ4_0> : Form<32, 32, 4, 8, false> {};
template <>
struct FormOf<BlockQ4_1> : Form<32, 32, 4, 0, true> {};
template <>
struct FormOf<BlockQ5_0> : Form<32, 32, 5, 16, false> {};
template <>
struct FormOf<BlockQ5_1> : Form<32, 32, 5, 0, true> {};
template <>
struct FormOf<BlockQ2_K> : Form<256, 16, 2, 0, true> {};
template <>
struct FormOf<BlockQ3_K> : Form<256, 16, 3, 4, false> {};
template <>
struct FormOf<BlockQ4_K> : Form<256, 32, 4, 0, true> {};
template <>
struct FormOf<BlockQ5_K> : Form<256, 32, 5, 0, true> {};
template <>
struct FormOf<BlockQ6_K> : Form<256, 16, 6, 32, false> {};

// kLanes rows of weights, of which a block starts `offset` bytes into each.
struct BlockRows {
  const uint8_t* const* rows;
  int64_t offset;
};

// Sixteen bytes from each of kLanes rows: dwords[j] lane r is dword j of row r.
struct Columns {
  Vu dwords[4];
};

__attribute__((always_inline)) inline Columns LoadColumns(BlockRows b, int64_t at) {
  const auto bytes = [&](int r) __attribute__((always_inline)) {
    return LoadBytes(b.rows[r] + b.offset + at);
  };
#ifdef LORIKEET_SIMD_512
  typedef __m512i V;
  const auto load = [&](int i) __attribute__((always_inline)) {
    const V low = _mm512_castsi256_si512(
        _mm256_inserti128_si256(_mm256_castsi128_si256(bytes(i)), bytes(i + 4), 1));
    const __m256i high =
        _mm256_inserti128_si256(_mm256_castsi128_si256(bytes(i + 8)), bytes(i + 12), 1);
    return _mm512_inserti64x4(low, high, 1);
  };
#define LORIKEET_UNPACK(part, a, b) _mm512_unpack##part(a, b)
#else
  typedef __m256i V;
  const auto load = [&](int i) __attribute__((always_inline)) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(bytes(i)), bytes(i + 4), 1);
  };
#define LORIKEET_UNPACK(part, a, b) _mm256_unpack##part(a, b)
#endif
  const V v[4] = {load(0), load(1), load(2), load(3)};
  const V low01 = LORIKEET_UNPACK(lo_epi32, v[0], v[1]);
  const V low23 = LORIKEET_UNPACK(lo_epi32, v[2], v[3]);
  const V high01 = LORIKEET_UNPACK(hi_epi32, v[0], v[1]);
  const V high23 = LORIKEET_UNPACK(hi_epi32, v[2], v[3]);
  return {{reinterpret_cast<Vu>(LORIKEET_UNPACK(lo_epi64, low01, low23)),
           reinterpret_cast<Vu>(LORIKEET_UNPACK(hi_epi64, low01, low23)),
           reinterpret_cast<Vu>(LORIKEET_UNPACK(lo_epi64, high01, high23)),
           reinterpret_cast<Vu>(LORIKEET_UNPACK(hi_epi64, high01, high23))}};
#undef LORIKEET_UNPACK
}

// The half floats in the low 16 bits of each lane.
inline Vf LowHalves(Vu v) {
#ifdef LORIKEET_SIMD_512
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(v)));
#else
  const auto low = reinterpret_cast<__m256i>(v & 0xffff);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
#endif
}
inline Vf HighHalves(Vu v) { return LowHalves(v >> 16); }

inline Vf FloatsOfInts(Vi v) { return __builtin_convertvector(v, Vf); }
inline Vf FloatsOfInts(Vu v) { return FloatsOfInts(reinterpret_cast<Vi>(v)); }
// Lanes whose bytes are looked up in a table of 16.
inline Vu LookUp(__m128i table, Vu indices) {
#ifdef LORIKEET_SIMD_512
  return reinterpret_cast<Vu>(
      _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), reinterpret_cast<__m512i>(indices)));
#else
  return reinterpret_cast<Vu>(
      _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), reinterpret_cast<__m256i>(indices)));
#endif
}

// Where the numbers of kLanes rows of one block go.
struct PanelPlace {
  Panel* panel;
  int row;
  int64_t column;
};

// Group `g` of a block: vector j of `u` has columns 4j..4j+3 of the group.
template <typename Block>
__attribute__((always_inline)) inline void PutGroup(const PanelPlace& place, int g,
                                                    const Vu (&u)[FormOf<Block>::kGroup / 4],
                                                    Vf scale, Vf min) {
  using F = FormOf<Block>;
  constexpr int kVectors = F::kGroup / 4;
  const int64_t group = place.column / F::kGroup + g;
  uint8_t* w = place.panel->w + 4 * (group * kVectors * kPanelRows + place.row);
  const int64_t at = group * kPanelRows + place.row;
  Store(place.panel->scales + at, scale);
  Vu bytes[kVectors];
#pragma GCC unroll 8
  for (int j = 0; j < kVectors; ++j) {
    bytes[j] = u[j];
    if constexpr (!F::kMin && F::kCenter != 0) {
      bytes[j] = reinterpret_cast<Vu>(reinterpret_cast<Vb>(u[j]) - static_cast<int8_t>(F::kCenter));
    }
    *reinterpret_cast<VuAnywhere*>(w + 4 * j * kPanelRows) = bytes[j];
  }
  if constexpr (F::kMin) {
    Store(place.panel->mins + at, F::kCenter != 0 ? scale * static_cast<float>(-F::kCenter) : min);
  }
#ifdef LORIKEET_SIMD_512
  if constexpr (!F::kMin) {
    __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), reinterpret_cast<__m512i>(bytes[j]));
    }
    _mm512_store_si512(place.panel->starts + at, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
  }
#endif
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_PANEL_INL_H_
