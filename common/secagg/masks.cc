#include "common/secagg/masks.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "keystream words are read in place");

constexpr size_t kChunkElements = 2048;  // keystream of a chunk stays in the first-level cache
constexpr size_t kBlockBytes = 64;

// Fixed trip count, so that the compiler vectorizes without a remainder loop.
template <typename Word, bool kSubtract>
void Accumulate(const Word* stream, uint32_t* words) {
  for (size_t i = 0; i < kChunkElements; ++i) {
    words[i] = kSubtract ? words[i] - stream[i] : words[i] + stream[i];
  }
}

template <typename Word>
void AddMasksAs(std::span<const Mask> masks, uint32_t cut, std::span<uint32_t> words) {
  static constexpr std::array<uint8_t, crypto_stream_chacha20_ietf_NONCEBYTES> kNonce = {};
  alignas(64) std::array<Word, kChunkElements> stream;
  alignas(64) std::array<uint32_t, kChunkElements> chunk;
  const SecretAccess access("expand a mask");
  for (size_t begin = 0; begin < words.size(); begin += kChunkElements) {
    const size_t count = std::min(kChunkElements, words.size() - begin);
    std::copy_n(words.begin() + begin, count, chunk.begin());
    std::fill(chunk.begin() + count, chunk.end(), 0);
    const uint32_t block = static_cast<uint32_t>(begin * sizeof(Word) / kBlockBytes);
    for (const Mask& mask : masks) {
      std::memset(stream.data(), 0, count * sizeof(Word));
      auto* bytes = reinterpret_cast<uint8_t*>(stream.data());
      crypto_stream_chacha20_ietf_xor_ic(bytes, bytes, count * sizeof(Word), kNonce.data(), block,
                                         mask.key.Open(access).data());
      if (mask.subtract) {
        Accumulate<Word, true>(stream.data(), chunk.data());
      } else {
        Accumulate<Word, false>(stream.data(), chunk.data());
      }
    }
    for (size_t i = 0; i < count; ++i) words[begin + i] = chunk[i] & cut;
  }
  WipeMemory({reinterpret_cast<uint8_t*>(stream.data()), sizeof stream});
}

}  // namespace

void AddMasks(std::span<const Mask> masks, int modulus_bits, std::span<uint32_t> words) {
  InitSodium();
  LORIKEET_CHECK(modulus_bits >= 1 && modulus_bits <= 32 && words.size() <= size_t{1} << 30);
  for (const Mask& mask : masks)
    LORIKEET_CHECK(mask.key.size_bytes() == crypto_stream_chacha20_ietf_KEYBYTES);
  const uint32_t cut = ~uint32_t{0} >> (32 - modulus_bits);
  if (modulus_bits <= 16) {
    AddMasksAs<uint16_t>(masks, cut, words);
  } else {
    AddMasksAs<uint32_t>(masks, cut, words);
  }
}

}  // namespace lorikeet
