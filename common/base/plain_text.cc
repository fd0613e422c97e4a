#include "common/base/plain_text.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/utf8.h"

namespace lorikeet {
namespace {

// The code point of the one valid character `bytes`.
uint32_t Decode(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  if (bytes.size() == 1) return byte(0);
  uint32_t point = byte(0) & (0x7fu >> bytes.size());
  for (size_t i = 1; i < bytes.size(); ++i) point = point << 6 | (byte(i) & 0x3f);
  return point;
}

bool IsControl(uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x200e || point == 0x200f ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

}  // namespace

absl::Status CheckPlainText(std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected plain text of at most ", max_bytes, " bytes, got ", text.size()));
  }
  for (size_t at = 0; at < text.size();) {
    const int length = Utf8CharacterLength(text.substr(at));
    if (length == 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("expected plain text in UTF-8, got byte 0x%02x at position %d",
                          static_cast<uint8_t>(text[at]), at));
    }
    const uint32_t point = Decode(text.substr(at, static_cast<size_t>(length)));
    if (IsControl(point)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "expected plain text, got control character U+%04X at position %d", point, at));
    }
    at += static_cast<size_t>(length);
  }
  return absl::OkStatus();
}

std::string Printable(std::string_view text) {
  std::string printable;
  printable.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto length = static_cast<size_t>(Utf8CharacterLength(text.substr(at)));
    const std::string_view character = text.substr(at, length);
    const bool kept =
        character == "\n" || character == "\t" || (length > 0 && !IsControl(Decode(character)));
    if (kept) {
      printable += character;
    } else {
      printable += '?';
    }
    at += length > 0 ? length : 1;
  }
  return printable;
}

}  // namespace lorikeet
