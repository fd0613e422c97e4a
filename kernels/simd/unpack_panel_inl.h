// Blocks of every quantized format, of kLanes rows at once, into a panel.
#ifndef LORIKEET_KERNELS_SIMD_UNPACK_PANEL_INL_H_
#define LORIKEET_KERNELS_SIMD_UNPACK_PANEL_INL_H_

#include "kernels/simd/panel_inl.h"
#include "kernels/views.h"

namespace lorikeet {
namespace {

constexpr uint32_t kLowNibbles = 0x0f0f0f0f;

template <typename Block>
struct Tag {};

// Byte i of each lane.
inline Vu ByteOf(Vu v, int i) { return (v >> (8 * i)) & 0xff; }
inline Vi SignedByteOf(Vu v, int i) { return reinterpret_cast<Vi>(v << (24 - 8 * i)) >> 24; }

// Columns 0..31 of a block whose byte j holds columns j and j + 16.
__attribute__((always_inline)) inline void SplitNibbles(const Columns& q, Vu (&u)[8]) {
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    u[j] = q.dwords[j] & kLowNibbles;
    u[4 + j] = (q.dwords[j] >> 4) & kLowNibbles;
  }
}

// Bit i of each lane's `high` becomes the fifth bit of column i.
__attribute__((always_inline)) inline void AddFifthBits(Vu high, Vu (&u)[8]) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    // The byte with the bits of columns 4j..4j+3, four times; of which each keeps its own.
    const auto byte = static_cast<char>(j / 2);
    const __m128i spread = _mm_add_epi8(
        _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12), _mm_set1_epi8(byte));
#ifdef LORIKEET_SIMD_512
    const __m512i four =
        _mm512_shuffle_epi8(reinterpret_cast<__m512i>(high), _mm512_broadcast_i32x4(spread));
    const __mmask64 set = _mm512_test_epi8_mask(
        four, _mm512_set1_epi32(static_cast<int>(j % 2 == 0 ? 0x08040201u : 0x80402010u)));
    const auto v = reinterpret_cast<__m512i>(u[j]);
    u[j] = reinterpret_cast<Vu>(_mm512_mask_add_epi8(v, set, v, _mm512_set1_epi8(16)));
#else
    const __m256i four =
        _mm256_shuffle_epi8(reinterpret_cast<__m256i>(high), _mm256_broadcastsi128_si256(spread));
    const __m256i own = _mm256_set1_epi32(static_cast<int>(j % 2 == 0 ? 0x08040201u : 0x80402010u));
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(four, own), own);
    u[j] |= reinterpret_cast<Vu>(set) & 0x10101010u;
#endif
  }
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ8_0>, BlockRows b,
                                                       const PanelPlace& to) {
  const Columns head = LoadColumns(b, 0);
  Vu u[8];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const Columns q = LoadColumns(b, 2 + 16 * h);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) u[4 * h + j] = q.dwords[j];
  }
  PutGroup<BlockQ8_0>(to, 0, u, LowHalves(head.dwords[0]), Vf{});
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ4_0>, BlockRows b,
                                                       const PanelPlace& to) {
  const Columns head = LoadColumns(b, 0);
  Vu u[8];
  SplitNibbles(LoadColumns(b, 2), u);
  PutGroup<BlockQ4_0>(to, 0, u, LowHalves(head.dwords[0]), Vf{});
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockIq4Nl>, BlockRows b,
                                                       const PanelPlace& to) {
  const Columns head = LoadColumns(b, 0);
  Vu u[8];
  SplitNibbles(LoadColumns(b, 2), u);
  const __m128i table = LoadBytes(kIq4NlValues);
#pragma GCC unroll 8
  for (Vu& v : u) v = LookUp(table, v);
  PutGroup<BlockIq4Nl>(to, 0, u, LowHalves(head.dwords[0]), Vf{});
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ4_1>, BlockRows b,
                                                       const PanelPlace& to) {
  const Columns head = LoadColumns(b, 0);
  Vu u[8];
  SplitNibbles(LoadColumns(b, 4), u);
  PutGroup<BlockQ4_1>(to, 0, u, LowHalves(head.dwords[0]), HighHalves(head.dwords[0]));
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ5_0>, BlockRows b,
                                                       const PanelPlace& to) {
  const Columns head = LoadColumns(b, 0);
  Vu u[8];
  SplitNibbles(LoadColumns(b, 6), u);
  AddFifthBits(head.dwords[0] >> 16 | head.dwords[1] << 16, u);
  PutGroup<BlockQ5_0>(to, 0, u, LowHalves(head.dwords[0]), Vf{});
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ5_1>, BlockRows b,
                                                       const PanelPlace& to) {
  const Columns head = LoadColumns(b, 0);
  Vu u[8];
  SplitNibbles(LoadColumns(b, 8), u);
  AddFifthBits(head.dwords[1], u);
  PutGroup<BlockQ5_1>(to, 0, u, LowHalves(head.dwords[0]), HighHalves(head.dwords[0]));
}

// The eight six-bit scales and mins of Q4_K and Q5_K (ScaleMinQ4K of dequantize_inl.h).
struct ScalesMins {
  Vf d, dmin;
  Vu s[3];  // the twelve bytes

  explicit ScalesMins(const Columns& head)
      : d(LowHalves(head.dwords[0])),
        dmin(HighHalves(head.dwords[0])),
        s{head.dwords[1], head.dwords[2], head.dwords[3]} {}
  Vf Scale(int g) const {
    return d * FloatsOfInts(g < 4 ? ByteOf(s[0], g) & 63
                                  : (ByteOf(s[2], g - 4) & 15) | ByteOf(s[0], g - 4) >> 6 << 4);
  }
  Vf Min(int g) const {
    return -dmin * FloatsOfInts(g < 4 ? ByteOf(s[1], g) & 63
                                      : ByteOf(s[2], g - 4) >> 4 | ByteOf(s[1], g - 4) >> 6 << 4);
  }
};

// Q4_K and Q5_K: groups 2p and 2p + 1 are the halves of the 32 bytes from `q` + 32 p on, the fifth
// bits of group g are bits g of the 32 bytes `high`.
template <typename Block>
__attribute__((always_inline)) inline void UnpackPairs(BlockRows b, int64_t q, const Columns* high,
                                                       const PanelPlace& to) {
  const ScalesMins scales(LoadColumns(b, 0));
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    const Columns packed[2] = {LoadColumns(b, q + 32 * pair), LoadColumns(b, q + 32 * pair + 16)};
#pragma GCC unroll 2
    for (int g = 2 * pair; g < 2 * pair + 2; ++g) {
      Vu u[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        u[j] = (packed[j / 4].dwords[j % 4] >> (4 * (g % 2))) & kLowNibbles;
        if (high != nullptr) u[j] |= (high[j / 4].dwords[j % 4] >> g << 4) & 0x10101010u;
      }
      PutGroup<Block>(to, g, u, scales.Scale(g), scales.Min(g));
    }
  }
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ4_K>, BlockRows b,
                                                       const PanelPlace& to) {
  UnpackPairs<BlockQ4_K>(b, 16, nullptr, to);
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ5_K>, BlockRows b,
                                                       const PanelPlace& to) {
  const Columns high[2] = {LoadColumns(b, 16), LoadColumns(b, 32)};
  UnpackPairs<BlockQ5_K>(b, 48, high, to);
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ6_K>, BlockRows b,
                                                       const PanelPlace& to) {
  const Vf d = HighHalves(LoadColumns(b, 194).dwords[3]);
  const Columns scales = LoadColumns(b, 192);
#pragma GCC unroll 4
  for (int part = 0; part < 4; ++part) {
    const int half = part / 2;  // of 128 columns
    const int side = part % 2;  // which 16 of 32
    const Columns low[2] = {LoadColumns(b, 64 * half + 16 * side),
                            LoadColumns(b, 64 * half + 32 + 16 * side)};
    const Columns high = LoadColumns(b, 128 + 32 * half + 16 * side);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      Vu u[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        u[j] = ((low[quarter % 2].dwords[j] >> (4 * (quarter / 2))) & kLowNibbles) |
               (high.dwords[j] >> (2 * quarter) & 0x03030303u) << 4;
      }
      const int g = 8 * half + 2 * quarter + side;
      const Vf scale = d * FloatsOfInts(SignedByteOf(scales.dwords[g / 4], g % 4));
      PutGroup<BlockQ6_K>(to, g, u, scale, Vf{});
    }
  }
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ2_K>, BlockRows b,
                                                       const PanelPlace& to) {
  const Vu d_dmin = LoadColumns(b, 68).dwords[3];
  const Vf d = LowHalves(d_dmin);
  const Vf dmin = HighHalves(d_dmin);
  const Columns scales = LoadColumns(b, 0);
#pragma GCC unroll 4
  for (int part = 0; part < 4; ++part) {
    const Columns q = LoadColumns(b, 16 + 16 * part);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      Vu u[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) u[j] = q.dwords[j] >> (2 * quarter) & 0x03030303u;
      const int g = 8 * (part / 2) + 2 * quarter + part % 2;
      const Vu both = ByteOf(scales.dwords[g / 4], g % 4);
      PutGroup<BlockQ2_K>(to, g, u, d * FloatsOfInts(both & 15), -dmin * FloatsOfInts(both >> 4));
    }
  }
}

__attribute__((always_inline)) inline void UnpackBlock(Tag<BlockQ3_K>, BlockRows b,
                                                       const PanelPlace& to) {
  // The last sixteen bytes: two of q, twelve of scales, d.
  const Columns tail = LoadColumns(b, 94);
  const Vf d = HighHalves(tail.dwords[3]);
  Vu s[3];
  for (int i = 0; i < 3; ++i) s[i] = tail.dwords[i] >> 16 | tail.dwords[i + 1] << 16;
#pragma GCC unroll 4
  for (int part = 0; part < 4; ++part) {
    const Columns q = LoadColumns(b, 32 + 16 * part);
    const Columns high = LoadColumns(b, 16 * (part % 2));
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      Vu u[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        u[j] = (q.dwords[j] >> (2 * quarter) & 0x03030303u) |
               (high.dwords[j] >> (4 * (part / 2) + quarter) & 0x01010101u) << 2;
      }
      const int g = 8 * (part / 2) + 2 * quarter + part % 2;
      const Vu low = ByteOf(s[g / 4 % 2], g % 4);
      const Vu scale = (g < 8 ? low & 15 : low >> 4) | (ByteOf(s[2], g % 4) >> (2 * (g / 4)) & 3)
                                                           << 4;
      PutGroup<BlockQ3_K>(to, g, u, d * (FloatsOfInts(scale) - 32.0f), Vf{});
    }
  }
}

// Columns [begin, begin + n), on block borders, of rows [first, first + count).  The panel's other
// rows repeat the last.
template <typename Block>
void UnpackPanel(const WeightView& w, int64_t first, int64_t count, int64_t begin, int64_t n,
                 Panel* panel) {
  constexpr int64_t kColumns = FormOf<Block>::kColumns;
  const uint8_t* rows[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) {
    rows[r] = w.data + (first + Min(r, count - 1)) * w.row_bytes;
  }
  for (int64_t column = 0; column < n; column += kColumns) {
    const int64_t offset = (begin + column) / kColumns * static_cast<int64_t>(sizeof(Block));
    for (int row = 0; row < kPanelRows; row += kLanes) {
      UnpackBlock(Tag<Block>{}, {rows + row, offset}, {panel, row, column});
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_UNPACK_PANEL_INL_H_
