// The tile instructions of AMX that the bf16 product needs, as the compiler must see them.
//
// Not the compiler's intrinsics: those of GCC 12 say that LDTILECFG reads 8 of its 64 bytes and
// that TILELOADD reads no memory at all, so that stores before them may be moved or dropped.  Here
// all of memory is an input.  Compilers know no tile registers across statements: the numbers below
// are ours to keep.  Source: Intel SDM, volume 1, chapter 18, and volume 2.
#ifndef LORIKEET_KERNELS_SIMD_AMX_TILES_INL_H_
#define LORIKEET_KERNELS_SIMD_AMX_TILES_INL_H_

#include <cstdint>

namespace lorikeet {
namespace {

constexpr int kTileRows = 16;      // of a tile register, at most
constexpr int kTileRowBytes = 64;  // at most
constexpr int kTileBytes = kTileRows * kTileRowBytes;

// What LDTILECFG reads.  A tile whose rows and colsb are 0 cannot be used.
struct alignas(64) TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t colsb[16];  // bytes a row, of tiles 0..7; the others 0
  uint8_t rows[16];    // of tiles 0..7; the others 0
};
static_assert(sizeof(TileConfig) == 64);

// Zeroes all tiles.
inline void LoadTileConfig(const TileConfig& config) {
  asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
}
// Until the next LoadTileConfig no tile can be used, and switching threads saves none.
inline void ReleaseTiles() { asm volatile("tilerelease" : : : "memory"); }

template <int kTile>
inline void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

// Row r of the tile lies at `base` + r * `stride` bytes.
template <int kTile>
inline void LoadTile(const void* base, int64_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(base), "r"(stride) : "memory");
}
template <int kTile>
inline void StoreTile(void* base, int64_t stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(kTile), "r"(base), "r"(stride) : "memory");
}

// c[m][n] += sum over k of a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1]: c holds floats, a and b
// bfloat16.  (AT&T order: the destination stands last.)
template <int kC, int kA, int kB>
inline void DotTiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_AMX_TILES_INL_H_
