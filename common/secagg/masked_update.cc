#include "common/secagg/masked_update.h"

#include <bit>
#include <cstring>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "packed bytes are read in place");

}  // namespace

std::vector<uint8_t> PackBits(std::span<const uint32_t> words, int modulus_bits) {
  LORIKEET_CHECK(modulus_bits >= 1 && modulus_bits <= 32);
  std::vector<uint8_t> packed((words.size() * modulus_bits + 7) / 8);
  uint8_t* out = packed.data();
  uint64_t buffer = 0;
  int filled = 0;
  for (const uint32_t word : words) {
    buffer |= static_cast<uint64_t>(word) << filled;
    filled += modulus_bits;
    if (filled < 32) continue;
    std::memcpy(out, &buffer, 4);
    out += 4;
    buffer >>= 32;
    filled -= 32;
  }
  for (; filled > 0; filled -= 8, buffer >>= 8) *out++ = static_cast<uint8_t>(buffer);
  return packed;
}

void AddPackedBits(std::span<const uint8_t> packed, int modulus_bits, std::span<uint32_t> sum) {
  LORIKEET_CHECK(modulus_bits >= 1 && modulus_bits <= 32);
  LORIKEET_CHECK(packed.size() == (sum.size() * modulus_bits + 7) / 8);
  const uint64_t mask = (uint64_t{1} << modulus_bits) - 1;
  size_t bit = 0;
  for (uint32_t& word : sum) {
    const size_t byte = bit / 8;
    uint64_t window = 0;  // at most 7 bits too many in front: an element lies inside
    std::memcpy(&window, packed.data() + byte,
                byte + 8 <= packed.size() ? 8 : packed.size() - byte);
    word += static_cast<uint32_t>(window >> bit % 8 & mask);
    bit += static_cast<size_t>(modulus_bits);
  }
}

}  // namespace lorikeet
