#include "kernels/amx_support.h"

#include <cmath>
#include <cstdint>

#include "kernels/quant.h"

#if defined(LORIKEET_KERNELS_X86) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lorikeet {
namespace {

#if defined(LORIKEET_KERNELS_X86) && defined(__linux__)

struct CpuId {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros for a leaf that the processor lacks.
CpuId ReadCpuId(uint32_t leaf, uint32_t subleaf) {
  CpuId id;
  if (__get_cpuid_count(leaf, subleaf, &id.eax, &id.ebx, &id.ecx, &id.edx) == 0) return {};
  return id;
}

bool Bit(uint32_t bits, int n) { return (bits >> n & 1) != 0; }

// AMX-TILE, AMX-BF16 and AVX512_BF16, with tiles of the size that the kernels are written for.
// Source: Intel SDM, volume 2, CPUID, leaves 7 and 1dh.
bool ProcessorHasAmx() {
  const CpuId features = ReadCpuId(7, 0);
  if (!Bit(features.edx, 24) || !Bit(features.edx, 22) || features.eax < 1) return false;
  if (!Bit(ReadCpuId(7, 1).eax, 5)) return false;
  const CpuId palette = ReadCpuId(0x1d, 1);
  const uint32_t tile_bytes = palette.eax >> 16;
  const uint32_t row_bytes = palette.ebx & 0xffff;
  const uint32_t tiles = palette.ebx >> 16;
  const uint32_t rows = palette.ecx & 0xffff;
  return tile_bytes == 1024 && row_bytes == 64 && tiles == 8 && rows == 16;
}

// XCR0's bits for tile configuration and data: whether the system saves the registers.
bool SystemSavesTiles() {
  constexpr uint32_t kTileBits = 3u << 17;
  constexpr int kOsXsave = 27;
  if (!Bit(ReadCpuId(1, 0).ecx, kOsXsave)) return false;
  uint32_t low;
  uint32_t high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kTileBits) == kTileBits;
}

// Linux gives the 8 KiB of tile data only to processes that ask.  Source: the kernel's
// Documentation/arch/x86/xstate.rst.
bool MayUseTiles() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kGetPermission = 0x1022;      // ARCH_GET_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) return false;
  uint64_t permitted = 0;
  return syscall(SYS_arch_prctl, kGetPermission, &permitted) == 0 &&
         (permitted >> kTileData & 1) != 0;
}

#endif

bool Near(const float* got, const float* want, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (!(std::fabs(got[i] - want[i]) <= 0.05f)) return false;
  }
  return true;
}

}  // namespace

const char* WhyNoAmx(const KernelTable& amx, const KernelTable& avx512) {
#if defined(LORIKEET_KERNELS_X86) && defined(__linux__)
  if (!ProcessorHasAmx()) return "";
  if (!SystemSavesTiles()) return "the system does not save AMX registers";
  if (!MayUseTiles()) return "the system does not let this process use AMX registers";
  if (!BatchProductIsRight(amx, avx512)) return "a test product with AMX came out wrong";
  return nullptr;
#else
  (void)amx;
  (void)avx512;
  return "";
#endif
}

bool BatchProductIsRight(const KernelTable& batch, const KernelTable& trusted) {
  // Full tiles and parts of tiles, of rows, of columns and of k; sums that are added to.
  constexpr int64_t kT = 37;
  constexpr int64_t kRows = 43;
  constexpr int64_t kCols = 96;
  constexpr int64_t kBlocks = kCols / 32;
  BlockQ4_0 blocks[kRows * kBlocks];
  float x[kT * kCols];
  alignas(64) uint16_t rounded[kT * kCols];
  float got[kT * kCols];
  float want[kT * kCols];
  uint32_t random = 1;
  const auto next = [&random] {  // 16 bits of a linear congruential generator
    random = random * 1664525 + 1013904223;
    return random >> 16;
  };
  for (BlockQ4_0& block : blocks) {
    block.d = static_cast<uint16_t>(0x2c00 + next() % 0x400);  // 1/16 .. 1/8
    for (uint8_t& q : block.q) q = static_cast<uint8_t>(next());
  }
  for (float& value : x) value = static_cast<float>(next()) / 32768.0f - 1.0f;
  for (int64_t i = 0; i < kT * kCols; ++i) got[i] = want[i] = static_cast<float>(i % 7);

  const WeightView w{TensorType::kQ4_0, reinterpret_cast<const uint8_t*>(blocks), kRows, kCols,
                     kBlocks * int64_t{sizeof(BlockQ4_0)}};
  const RoundedActivations activations{
      .x = ConstMatrix(x, kT, kCols), .bf16 = rounded, .bf16_stride = kCols};
  batch.round_activations(activations, 0, kT);
  batch.mat_mul_batch(activations, w, Matrix(got, kT, kRows), 0, kRows, /*accumulate=*/true);
  trusted.mat_mul(activations.x, w, Matrix(want, kT, kRows), 0, kRows, /*accumulate=*/true);
  // Each of 96 products, of a weight below 1 and an activation up to 1, is off by at most 2^-8 of
  // itself.  A value missing or at a wrong place would show among the 1591 sums.
  if (!Near(got, want, kT * kRows)) return false;

  // The same for gradients: 43 products a sum.
  const RoundedActivations gradients{
      .x = ConstMatrix(x, kT, kRows, kCols), .bf16 = rounded, .bf16_stride = kCols};
  batch.round_activations(gradients, 0, kT);
  for (int64_t i = 0; i < kT * kCols; ++i) got[i] = want[i];
  batch.mat_mul_batch_backward(gradients, w, Matrix(got, kT, kCols), 0, kCols, /*accumulate=*/true);
  trusted.mat_mul_backward_input(gradients.x, w, Matrix(want, kT, kCols), 0, kCols);
  return Near(got, want, kT * kCols);
}

}  // namespace lorikeet
