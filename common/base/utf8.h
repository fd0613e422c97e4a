// UTF-8 (RFC 3629): strict validation.
#ifndef LORIKEET_COMMON_BASE_UTF8_H_
#define LORIKEET_COMMON_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lorikeet {

// Bytes of the valid character at the start of `text` (1..4), or 0: overlong forms, surrogates,
// values over U+10FFFF, stray and missing continuation bytes are invalid.
inline int Utf8CharacterLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (text.empty()) return 0;
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const int length = lead >= 0xc2 && lead < 0xe0   ? 2
                     : lead >= 0xe0 && lead < 0xf0 ? 3
                     : lead >= 0xf0 && lead < 0xf5 ? 4
                                                   : 0;
  if (length == 0 || text.size() < static_cast<size_t>(length)) return 0;
  const uint8_t second_min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t second_max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < second_min || byte(1) > second_max) return 0;
  for (int i = 2; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

// Position of the first byte that is not part of valid UTF-8, or nullopt.
inline std::optional<size_t> FindInvalidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const int length = Utf8CharacterLength(text.substr(i));
    if (length == 0) return i;
    i += static_cast<size_t>(length);
  }
  return std::nullopt;
}

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_UTF8_H_
