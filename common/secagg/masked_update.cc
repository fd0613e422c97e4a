#include "common/secagg/masked_update.h"

#include <algorithm>
#include <array>
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
  const auto element = [&](const uint8_t* at, int shift) {
    uint64_t window;  // at most 7 bits too many in front: an element lies inside
    std::memcpy(&window, at, sizeof window);
    return static_cast<uint32_t>(window >> shift & mask);
  };
  // Eight elements begin and end with a byte.
  std::array<int, 8> offset, shift;
  for (int i = 0; i < 8; ++i) {
    offset[i] = i * modulus_bits / 8;
    shift[i] = i * modulus_bits % 8;
  }
  size_t done = 0;
  const uint8_t* group = packed.data();
  const size_t group_bytes = static_cast<size_t>(modulus_bits);
  for (; done + 8 <= sum.size() && (done / 8 + 1) * group_bytes + 7 <= packed.size(); done += 8) {
    for (int i = 0; i < 8; ++i) sum[done + i] += element(group + offset[i], shift[i]);
    group += group_bytes;
  }
  // The last ones, with room behind them.
  std::array<uint8_t, 32 * 3> tail = {};
  const size_t rest = static_cast<size_t>(packed.data() + packed.size() - group);
  std::copy_n(group, rest, tail.data());
  for (size_t i = 0; done < sum.size(); ++done, ++i) {
    const size_t bit = i * group_bytes;
    sum[done] += element(tail.data() + bit / 8, static_cast<int>(bit % 8));
  }
}

}  // namespace lorikeet
