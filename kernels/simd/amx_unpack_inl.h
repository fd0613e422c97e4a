// Weights of every quantized type, and BF16, as tiles of bfloat16: pairs of neighbouring k of 16
// rows side by side, as TDPBF16PS wants its second factor.
//
// Values with up to 4 bits are looked up: all 16 numbers that a scale allows are computed at once
// and picked by VPERMPS, which reads the low 4 bits of each index.  A fifth bit adds 16 scales
// where it is set.  All of that is exact or rounded once, as in dequantize_inl.h, until the
// rounding to bfloat16 (nearest even; denormals become 0).
#ifndef LORIKEET_KERNELS_SIMD_AMX_UNPACK_INL_H_
#define LORIKEET_KERNELS_SIMD_AMX_UNPACK_INL_H_

#include <cstdint>

#include "kernels/quant.h"
#include "kernels/simd/amx_tiles_inl.h"
#include "kernels/simd/vec_inl.h"
#include "kernels/views.h"

namespace lorikeet {
namespace {

constexpr int64_t kStagedCols = 256;  // every block's length divides it
constexpr int64_t kStepCols = 32;     // values of k in a tile

inline void StoreBf16(uint16_t* dst, Vf low, Vf high) {
  _mm512_storeu_si512(dst, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
}

// The half at p, in every lane.
inline Vf SplatHalf(const uint8_t* p) {
  int16_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return _mm512_cvtph_ps(_mm256_set1_epi16(bits));
}

inline __m512i Widen(const uint8_t* p) { return _mm512_cvtepu8_epi32(LoadBytes(p)); }
inline __m512i HighNibbles(__m512i bytes) { return _mm512_srli_epi32(bytes, 4); }
// table[the low 4 bits of each index].
inline Vf Look(Vf table, __m512i index) { return _mm512_permutexvar_ps(index, table); }
inline Vf AddWhere(uint32_t mask, Vf x, Vf summand) {
  return _mm512_mask_add_ps(x, static_cast<__mmask16>(mask), x, summand);
}

inline Vf Counting(float first) {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + Splat(first);
}
// first, first + 1, first + 2, first + 3, first, ...: a table for two bits that ignores the next
// two.
inline Vf CountingInFours(float first) {
  return _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3) + Splat(first);
}

inline uint32_t Load32(const uint8_t* p) {
  uint32_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return bits;
}

// Each of the following writes dst[0..n) for a row of blocks at `row`; n is a multiple of the
// block's length.
using UnpackRow = void (*)(const uint8_t* row, int64_t n, uint16_t* dst);

void UnpackBf16(const uint8_t* row, int64_t n, uint16_t* dst) {
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) _mm512_storeu_si512(dst + i, _mm512_loadu_si512(row + 2 * i));
  if (i == n) return;
  const auto mask = static_cast<__mmask32>((1u << (n - i)) - 1);
  _mm512_storeu_si512(dst + i, _mm512_maskz_loadu_epi16(mask, row + 2 * i));
}

void UnpackBf16Q8_0(const uint8_t* row, int64_t n, uint16_t* dst) {
  for (int64_t i = 0; i < n; i += 32, row += sizeof(BlockQ8_0)) {
    const Vf d = SplatHalf(row);
    StoreBf16(dst + i, d * FloatsOf(LoadBytes(row + 2)).v[0],
              d * FloatsOf(LoadBytes(row + 18)).v[0]);
  }
}

// 4-bit blocks of 32 whose table a function makes of the block.
template <typename Block, typename TableOf>
inline void UnpackNibbles(const uint8_t* row, int64_t n, uint16_t* dst, const TableOf& table_of) {
  for (int64_t i = 0; i < n; i += 32, row += sizeof(Block)) {
    const Vf table = table_of(row);
    const __m512i bytes = Widen(row + sizeof(Block) - 16);
    StoreBf16(dst + i, Look(table, bytes), Look(table, HighNibbles(bytes)));
  }
}

void UnpackBf16Q4_0(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = Counting(-8);
  UnpackNibbles<BlockQ4_0>(row, n, dst,
                           [&](const uint8_t* block) { return SplatHalf(block) * values; });
}

void UnpackBf16Q4_1(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = Counting(0);
  UnpackNibbles<BlockQ4_1>(row, n, dst, [&](const uint8_t* block) {
    return SplatHalf(block) * values + SplatHalf(block + 2);
  });
}

void UnpackBf16Iq4Nl(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = FloatsOf(LoadBytes(kIq4NlValues)).v[0];
  UnpackNibbles<BlockIq4Nl>(row, n, dst,
                            [&](const uint8_t* block) { return SplatHalf(block) * values; });
}

void UnpackBf16Q5_0(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = Counting(-16);
  for (int64_t i = 0; i < n; i += 32, row += sizeof(BlockQ5_0)) {
    const Vf d = SplatHalf(row);
    const Vf table = d * values;
    const Vf sixteen = d * Splat(16);
    const uint32_t high = Load32(row + 2);
    const __m512i bytes = Widen(row + 6);
    StoreBf16(dst + i, AddWhere(high, Look(table, bytes), sixteen),
              AddWhere(high >> 16, Look(table, HighNibbles(bytes)), sixteen));
  }
}

void UnpackBf16Q5_1(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = Counting(0);
  for (int64_t i = 0; i < n; i += 32, row += sizeof(BlockQ5_1)) {
    const Vf d = SplatHalf(row);
    const Vf m = SplatHalf(row + 2);
    const Vf table = d * values;
    const Vf sixteen = d * Splat(16);
    const uint32_t high = Load32(row + 4);
    const __m512i bytes = Widen(row + 8);
    StoreBf16(dst + i, AddWhere(high, Look(table, bytes), sixteen) + m,
              AddWhere(high >> 16, Look(table, HighNibbles(bytes)), sixteen) + m);
  }
}

// scales[g] = d * scale of group g, scales[8 + g] = dmin * its minimum: Q4_K and Q5_K begin alike.
inline void ScalesQ4K(const uint8_t* block, float* scales) {
  const uint32_t a = Load32(block + 4);
  const uint32_t b = Load32(block + 8);
  const uint32_t c = Load32(block + 12);
  const uint32_t bytes[4] = {a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030),
                             b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)};
  const Vf factors = _mm512_mask_mov_ps(SplatHalf(block), 0xff00, SplatHalf(block + 2));
  Store(scales, factors * FloatsOf(LoadBytes(bytes)).v[0]);
}

void UnpackBf16Q4_K(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = Counting(0);
  float scales[16];
  for (int64_t i = 0; i < n; i += 256, row += sizeof(BlockQ4_K)) {
    ScalesQ4K(row, scales);
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair) {
      const __m512i low = Widen(row + 16 + 32 * pair);
      const __m512i high = Widen(row + 32 + 32 * pair);
      const Vf first = Splat(scales[2 * pair]) * values - Splat(scales[8 + 2 * pair]);
      const Vf second = Splat(scales[2 * pair + 1]) * values - Splat(scales[9 + 2 * pair]);
      StoreBf16(dst + i + 64 * pair, Look(first, low), Look(first, high));
      StoreBf16(dst + i + 64 * pair + 32, Look(second, HighNibbles(low)),
                Look(second, HighNibbles(high)));
    }
  }
}

void UnpackBf16Q5_K(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = Counting(0);
  float scales[16];
  for (int64_t i = 0; i < n; i += 256, row += sizeof(BlockQ5_K)) {
    ScalesQ4K(row, scales);
    const __m256i fifths = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 16));
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
      __m512i low = Widen(row + 48 + 32 * (g / 2));
      __m512i high = Widen(row + 64 + 32 * (g / 2));
      if (g % 2 == 1) {
        low = HighNibbles(low);
        high = HighNibbles(high);
      }
      const uint32_t mask =
          _mm256_test_epi8_mask(fifths, _mm256_set1_epi8(static_cast<char>(1 << g)));
      const Vf d = Splat(scales[g]);
      const Vf m = Splat(scales[8 + g]);
      const Vf table = d * values;
      const Vf sixteen = d * Splat(16);
      StoreBf16(dst + i + 32 * g, AddWhere(mask, Look(table, low), sixteen) - m,
                AddWhere(mask >> 16, Look(table, high), sixteen) - m);
    }
  }
}

void UnpackBf16Q6_K(const uint8_t* row, int64_t n, uint16_t* dst) {
  const __m256i low_mask = _mm256_set1_epi8(15);
  const __m256i six_bits = _mm256_set1_epi8(63);
  const __m256i middle = _mm256_set1_epi8(32);
  const auto load = [](const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  };
  float scales[16];
  for (int64_t i = 0; i < n; i += 256, row += sizeof(BlockQ6_K)) {
    Store(scales, SplatHalf(row + 208) * FloatsOf(LoadBytes(row + 192)).v[0]);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
      const int half = g / 4;
      const int quarter = g % 4;  // which two bits of `high`
      __m256i low = load(row + 64 * half + 32 * (quarter % 2));
      if (quarter >= 2) low = _mm256_srli_epi16(low, 4);
      __m256i high = load(row + 128 + 32 * half);
      if (quarter == 0) high = _mm256_slli_epi16(high, 4);
      if (quarter == 1) high = _mm256_slli_epi16(high, 2);
      if (quarter == 3) high = _mm256_srli_epi16(high, 2);
      // low_mask ? low : high, bit by bit
      const __m256i both = _mm256_ternarylogic_epi32(low_mask, low, high, 0xca);
      const __m256i q = _mm256_sub_epi8(_mm256_and_si256(both, six_bits), middle);
      StoreBf16(dst + i + 32 * g, Splat(scales[2 * g]) * FloatsOf(_mm256_castsi256_si128(q)).v[0],
                Splat(scales[2 * g + 1]) * FloatsOf(_mm256_extracti128_si256(q, 1)).v[0]);
    }
  }
}

void UnpackBf16Q2_K(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = CountingInFours(0);
  const __m128i nibble = _mm_set1_epi8(15);
  float scales[16];
  float mins[16];
  for (int64_t i = 0; i < n; i += 256, row += sizeof(BlockQ2_K)) {
    const __m128i both = LoadBytes(row);
    Store(scales, SplatHalf(row + 80) * FloatsOf(_mm_and_si128(both, nibble)).v[0]);
    Store(mins,
          SplatHalf(row + 82) * FloatsOf(_mm_and_si128(_mm_srli_epi16(both, 4), nibble)).v[0]);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {  // of 32
      const uint8_t* q = row + 16 + 32 * (g / 4);
      const int shift = 2 * (g % 4);
      const Vf first = Splat(scales[2 * g]) * values - Splat(mins[2 * g]);
      const Vf second = Splat(scales[2 * g + 1]) * values - Splat(mins[2 * g + 1]);
      StoreBf16(dst + i + 32 * g, Look(first, _mm512_srli_epi32(Widen(q), shift)),
                Look(second, _mm512_srli_epi32(Widen(q + 16), shift)));
    }
  }
}

// scales[g] = d * (six bits of group g - 32).
inline void ScalesQ3K(const uint8_t* block, float* scales) {
  const uint32_t a = Load32(block + 96);
  const uint32_t b = Load32(block + 100);
  const uint32_t c = Load32(block + 104);
  const uint32_t bytes[4] = {
      (a & 0x0f0f0f0f) | (c << 4 & 0x30303030), (b & 0x0f0f0f0f) | (c << 2 & 0x30303030),
      (a >> 4 & 0x0f0f0f0f) | (c & 0x30303030), (b >> 4 & 0x0f0f0f0f) | (c >> 2 & 0x30303030)};
  Store(scales, SplatHalf(block + 108) * (FloatsOf(LoadBytes(bytes)).v[0] - Splat(32)));
}

void UnpackBf16Q3_K(const uint8_t* row, int64_t n, uint16_t* dst) {
  const Vf values = CountingInFours(-4);
  float scales[16];
  for (int64_t i = 0; i < n; i += 256, row += sizeof(BlockQ3_K)) {
    ScalesQ3K(row, scales);
    const __m256i thirds = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) {
      const uint8_t* q = row + 32 + 32 * (g / 4);
      const int shift = 2 * (g % 4);
      const uint32_t mask =
          _mm256_test_epi8_mask(thirds, _mm256_set1_epi8(static_cast<char>(1 << g)));
      const Vf d0 = Splat(scales[2 * g]);
      const Vf d1 = Splat(scales[2 * g + 1]);
      const Vf first = Look(d0 * values, _mm512_srli_epi32(Widen(q), shift));
      const Vf second = Look(d1 * values, _mm512_srli_epi32(Widen(q + 16), shift));
      StoreBf16(dst + i + 32 * g, AddWhere(mask, first, d0 * Splat(4)),
                AddWhere(mask >> 16, second, d1 * Splat(4)));
    }
  }
}

UnpackRow UnpackerOf(TensorType type) {
  switch (type) {
    case TensorType::kBF16:
      return UnpackBf16;
    case TensorType::kQ8_0:
      return UnpackBf16Q8_0;
    case TensorType::kQ4_0:
      return UnpackBf16Q4_0;
    case TensorType::kQ4_1:
      return UnpackBf16Q4_1;
    case TensorType::kQ5_0:
      return UnpackBf16Q5_0;
    case TensorType::kQ5_1:
      return UnpackBf16Q5_1;
    case TensorType::kIQ4_NL:
      return UnpackBf16Iq4Nl;
    case TensorType::kQ2_K:
      return UnpackBf16Q2_K;
    case TensorType::kQ3_K:
      return UnpackBf16Q3_K;
    case TensorType::kQ4_K:
      return UnpackBf16Q4_K;
    case TensorType::kQ5_K:
      return UnpackBf16Q5_K;
    case TensorType::kQ6_K:
      return UnpackBf16Q6_K;
    case TensorType::kF32:
    case TensorType::kF16:
    case TensorType::kI32:
      break;
  }
  __builtin_trap();  // the product's REQUIRES
}

// tile[p][r] = staged[r][p], of 16 x 16 pairs; rows of `staged` are kStagedCols apart.  Quarters of
// rows are put together by loads, which leaves half of the shuffles.
inline void TransposePairs(const uint16_t* staged, uint8_t* tile) {
#pragma GCC unroll 4
  for (int quarter = 0; quarter < 4; ++quarter) {
    __m512i r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const uint16_t* from = staged + i * kStagedCols + 8 * quarter;
      __m512i rows = _mm512_castsi128_si512(LoadBytes(from));
      rows = _mm512_inserti32x4(rows, LoadBytes(from + 4 * kStagedCols), 1);
      rows = _mm512_inserti32x4(rows, LoadBytes(from + 8 * kStagedCols), 2);
      r[i] = _mm512_inserti32x4(rows, LoadBytes(from + 12 * kStagedCols), 3);
    }
    const __m512i low01 = _mm512_unpacklo_epi32(r[0], r[1]);
    const __m512i high01 = _mm512_unpackhi_epi32(r[0], r[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(r[2], r[3]);
    const __m512i high23 = _mm512_unpackhi_epi32(r[2], r[3]);
    uint8_t* to = tile + 4 * quarter * kTileRowBytes;
    _mm512_store_si512(to, _mm512_unpacklo_epi64(low01, low23));
    _mm512_store_si512(to + kTileRowBytes, _mm512_unpackhi_epi64(low01, low23));
    _mm512_store_si512(to + 2 * kTileRowBytes, _mm512_unpacklo_epi64(high01, high23));
    _mm512_store_si512(to + 3 * kTileRowBytes, _mm512_unpackhi_epi64(high01, high23));
  }
}

inline void ZeroStaged(uint16_t* staged, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) staged[i] = 0;
}

// A piece of a weight matrix: some rows (for UnpackTiles up to 16), and n values of each from the
// start of a block on.
struct WeightPiece {
  const uint8_t* data;
  int64_t row_bytes;
  int64_t rows;
  int64_t n;
  UnpackRow unpack;
  int64_t bytes_per_staged;  // that hold kStagedCols values
};

// Tile s of the piece, k from 32 s on, goes to tiles + s * tile_distance.  Values beyond n, and
// rows beyond piece.rows, are 0.
void UnpackTiles(const WeightPiece& piece, int64_t tile_distance, uint8_t* tiles) {
  alignas(64) uint16_t staged[kTileRows * kStagedCols];
  ZeroStaged(staged, piece.rows * kStagedCols, kTileRows * kStagedCols);
  const uint8_t* from = piece.data;
  for (int64_t k = 0; k < piece.n; k += kStagedCols, from += piece.bytes_per_staged) {
    const int64_t n = Min(kStagedCols, piece.n - k);
    // An unpacker of BF16 writes 32 values at a time, zeros behind the last.
    for (int64_t r = 0; r < piece.rows; ++r) {
      piece.unpack(from + r * piece.row_bytes, n, staged + r * kStagedCols);
    }
    for (int64_t i = 0; i < n; i += kStepCols, tiles += tile_distance) {
      TransposePairs(staged + i, tiles);
    }
  }
}

// Columns [0, n), n % 32 == 0, at most kStagedCols, of `piece.rows` rows, for sums over rows: tile
// [panel][step][half] holds rows 32 step .. 32 step + 31, in pairs, of columns 32 panel + 16 half
// ..; panels are `panel_distance` bytes apart.  Rows up to a multiple of 32 are 0.
void UnpackTilesAcross(const WeightPiece& piece, int64_t panel_distance, uint8_t* tiles) {
  alignas(64) uint16_t pair[2][kStagedCols];
  const __m512i counting =
      _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                       37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i later = _mm512_add_epi16(counting, _mm512_set1_epi16(16));
  const int64_t rows = (piece.rows + kStepCols - 1) / kStepCols * kStepCols;
  for (int64_t r = 0; r < rows; r += 2) {
    for (int64_t i = 0; i < 2; ++i) {
      if (r + i < piece.rows) {
        piece.unpack(piece.data + (r + i) * piece.row_bytes, piece.n, pair[i]);
      } else {
        ZeroStaged(pair[i], 0, piece.n);
      }
    }
    uint8_t* to = tiles + r / kStepCols * (2 * kTileBytes) + r % kStepCols / 2 * kTileRowBytes;
    for (int64_t c = 0; c < piece.n; c += kStepCols, to += panel_distance) {
      const __m512i first = _mm512_load_si512(pair[0] + c);
      const __m512i second = _mm512_load_si512(pair[1] + c);
      _mm512_store_si512(to, _mm512_permutex2var_epi16(first, counting, second));
      _mm512_store_si512(to + kTileBytes, _mm512_permutex2var_epi16(first, later, second));
    }
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_AMX_UNPACK_INL_H_
