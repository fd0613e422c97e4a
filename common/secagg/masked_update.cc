#include "common/secagg/masked_update.h"

#include "common/base/status_macros.h"

namespace lorikeet {

std::vector<uint8_t> PackBits(const std::vector<uint32_t>& words, int modulus_bits) {
  LORIKEET_CHECK(modulus_bits >= 1 && modulus_bits <= 32);
  std::vector<uint8_t> packed;
  packed.reserve((words.size() * modulus_bits + 7) / 8);
  uint64_t buffer = 0;
  int filled = 0;
  for (uint32_t word : words) {
    buffer |= static_cast<uint64_t>(word) << filled;
    filled += modulus_bits;
    for (; filled >= 8; filled -= 8, buffer >>= 8) packed.push_back(static_cast<uint8_t>(buffer));
  }
  if (filled > 0) packed.push_back(static_cast<uint8_t>(buffer));
  return packed;
}

std::vector<uint32_t> UnpackBits(const std::vector<uint8_t>& packed, int64_t count,
                                 int modulus_bits) {
  LORIKEET_CHECK(modulus_bits >= 1 && modulus_bits <= 32 && count >= 0);
  LORIKEET_CHECK(packed.size() == (static_cast<uint64_t>(count) * modulus_bits + 7) / 8);
  std::vector<uint32_t> words(count);
  const uint64_t mask = (uint64_t{1} << modulus_bits) - 1;
  uint64_t buffer = 0;
  int filled = 0;
  size_t next = 0;
  for (uint32_t& word : words) {
    for (; filled < modulus_bits; filled += 8)
      buffer |= static_cast<uint64_t>(packed[next++]) << filled;
    word = static_cast<uint32_t>(buffer & mask);
    buffer >>= modulus_bits;
    filled -= modulus_bits;
  }
  return words;
}

}  // namespace lorikeet
