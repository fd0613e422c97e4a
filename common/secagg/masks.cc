#include "common/secagg/masks.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "common/base/status_macros.h"
#include "common/secagg/mask_kernels.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "keystream words are read in place");

constexpr size_t kKeyBytes = crypto_stream_chacha20_ietf_KEYBYTES;
constexpr size_t kBlockBytes = 64;

using TileBytes = std::array<uint8_t, kMaskTileBytes>;

// SumStreams by libsodium, which writes each stream down.
template <typename Element>
void SumWithLibsodium(const MaskTile& tile, uint8_t* out) {
  static constexpr std::array<uint8_t, crypto_stream_chacha20_ietf_NONCEBYTES> kNonce = {};
  constexpr size_t kElements = kMaskTileBytes / sizeof(Element);
  alignas(64) std::array<Element, kElements> sum = {}, stream;
  for (size_t i = 0; i < tile.added + tile.subtracted; ++i) {
    stream.fill(0);
    auto* bytes = reinterpret_cast<uint8_t*>(stream.data());
    crypto_stream_chacha20_ietf_xor_ic(bytes, bytes, kMaskTileBytes, kNonce.data(),
                                       tile.first_block,
                                       reinterpret_cast<const uint8_t*>(tile.keys + 8 * i));
    if (i < tile.added) {
      for (size_t e = 0; e < kElements; ++e) sum[e] = static_cast<Element>(sum[e] + stream[e]);
    } else {
      for (size_t e = 0; e < kElements; ++e) sum[e] = static_cast<Element>(sum[e] - stream[e]);
    }
  }
  std::memcpy(out, sum.data(), kMaskTileBytes);
  WipeMemory({reinterpret_cast<uint8_t*>(stream.data()), kMaskTileBytes});
  WipeMemory({reinterpret_cast<uint8_t*>(sum.data()), kMaskTileBytes});
}

void SumStreamsLibsodium(const MaskTile& tile, uint8_t* out) {
  tile.half_words ? SumWithLibsodium<uint16_t>(tile, out) : SumWithLibsodium<uint32_t>(tile, out);
}

SumStreamsFunction FunctionOf(MaskEngine engine) {
#ifdef LORIKEET_MASK_KERNELS_X86
  if (engine == MaskEngine::kAvx512) return SumStreamsAvx512;
  if (engine == MaskEngine::kAvx2) return SumStreamsAvx2;
#endif
  LORIKEET_CHECK(engine == MaskEngine::kLibsodium);
  return SumStreamsLibsodium;
}

// The keys one after the other, those to add first.
SecretBytes Gather(std::span<const Mask> masks, size_t* added) {
  const SecretAccess access("expand masks");
  SecretBytes keys(masks.size() * kKeyBytes);
  uint8_t* next = keys.OpenMutable(access).data();
  *added = 0;
  for (const bool subtract : {false, true}) {
    for (const Mask& mask : masks) {
      if (mask.subtract != subtract) continue;
      LORIKEET_CHECK(mask.key.size_bytes() == kKeyBytes);
      next = std::copy_n(mask.key.Open(access).data(), kKeyBytes, next);
      *added += subtract ? 0 : 1;
    }
  }
  return keys;
}

template <typename Element>
void AddTile(const TileBytes& tile, uint32_t cut, std::span<uint32_t> words) {
  const auto* elements = reinterpret_cast<const Element*>(tile.data());
  for (size_t i = 0; i < words.size(); ++i) words[i] = (words[i] + elements[i]) & cut;
}

}  // namespace

std::vector<MaskEngine> MaskEngines() {
  std::vector<MaskEngine> engines = {MaskEngine::kLibsodium};
#ifdef LORIKEET_MASK_KERNELS_X86
  if (__builtin_cpu_supports("avx2")) engines.push_back(MaskEngine::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
    engines.push_back(MaskEngine::kAvx512);
#endif
  return engines;
}

void AddMasksWith(MaskEngine engine, std::span<const Mask> masks, int modulus_bits,
                  std::span<uint32_t> words, ThreadPool* pool) {
  InitSodium();
  LORIKEET_CHECK(modulus_bits >= 1 && modulus_bits <= 32 && words.size() <= size_t{1} << 30);
  const SumStreamsFunction sum_streams = FunctionOf(engine);
  size_t added = 0;
  const SecretBytes keys = Gather(masks, &added);
  const auto* key_words =
      reinterpret_cast<const uint32_t*>(keys.Open(SecretAccess("expand masks")).data());
  const bool half_words = modulus_bits <= 16;
  const uint32_t cut = ~uint32_t{0} >> (32 - modulus_bits);
  const size_t tile_elements = kMaskTileBytes / (half_words ? 2 : 4);
  const auto add_tiles = [&](int64_t begin, int64_t end) {
    alignas(64) TileBytes sum;
    for (size_t at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at) {
      const size_t first = at * tile_elements;
      sum_streams({.keys = key_words,
                   .added = added,
                   .subtracted = masks.size() - added,
                   .first_block = static_cast<uint32_t>(at * (kMaskTileBytes / kBlockBytes)),
                   .half_words = half_words},
                  sum.data());
      const auto part = words.subspan(first, std::min(tile_elements, words.size() - first));
      half_words ? AddTile<uint16_t>(sum, cut, part) : AddTile<uint32_t>(sum, cut, part);
    }
    WipeMemory(sum);
  };
  const auto tiles = static_cast<int64_t>((words.size() + tile_elements - 1) / tile_elements);
  if (pool != nullptr) {
    pool->ParallelFor(tiles, 1, add_tiles);
  } else {
    add_tiles(0, tiles);
  }
}

void AddMasks(std::span<const Mask> masks, int modulus_bits, std::span<uint32_t> words,
              ThreadPool* pool) {
  static const MaskEngine best = MaskEngines().back();
  AddMasksWith(best, masks, modulus_bits, words, pool);
}

}  // namespace lorikeet
