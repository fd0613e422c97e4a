#include "device/runtime/utf8_stream.h"

#include <cstdint>

namespace lorikeet {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Length of the character that `lead` starts, 0 if none.
int CharacterLength(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// Whether `byte` may be the second after `lead` (RFC 3629: no overlong forms, no surrogates, up to
// U+10FFFF).
bool IsSecond(uint8_t lead, uint8_t byte) {
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  return byte >= low && byte <= high;
}

}  // namespace

std::string Utf8Stream::Push(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (!pending_.empty()) {
      const uint8_t lead = static_cast<uint8_t>(pending_[0]);
      const bool continues =
          pending_.size() == 1 ? IsSecond(lead, byte) : (byte >= 0x80 && byte <= 0xBF);
      if (continues) {
        pending_.push_back(c);
        if (static_cast<int>(pending_.size()) == CharacterLength(lead)) {
          out += pending_;
          pending_.clear();
        }
        continue;
      }
      out += kReplacement;
      pending_.clear();
    }
    switch (CharacterLength(byte)) {
      case 0:
        out += kReplacement;
        break;
      case 1:
        out.push_back(c);
        break;
      default:
        pending_.push_back(c);
    }
  }
  return out;
}

std::string Utf8Stream::Finish() {
  if (pending_.empty()) return {};
  pending_.clear();
  return std::string(kReplacement);
}

}  // namespace lorikeet
