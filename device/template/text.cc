#include "device/template/text.h"

#include <utf8proc.h>

#include <algorithm>

#include "common/base/utf8.h"
#include "common/tokenizer/unicode.h"

namespace lorikeet::jinja {
namespace {

constexpr std::string_view kWordOpeners = "-({[<";

// str.isspace(): White_Space and the separators U+001C to U+001F.
bool IsSpace(const Char& c) {
  return c.kind == CharClass::kSpace || (c.code >= 0x1c && c.code <= 0x1f);
}

// The start of the character that ends before `end`.  REQUIRES: end > 0.
size_t PreviousCharacter(std::string_view text, size_t end) {
  for (size_t size = std::min<size_t>(4, end); size > 1; --size) {
    if (Utf8CharacterLength(text.substr(end - size, size)) == static_cast<int>(size)) {
      return end - size;
    }
  }
  return end - 1;
}

bool Strips(std::string_view text, size_t position, const std::string* characters) {
  if (characters == nullptr) return IsSpaceAt(text, position);
  const std::string_view wanted = text.substr(position, CharacterSize(text, position));
  for (size_t i = 0; i < characters->size(); i += CharacterSize(*characters, i)) {
    if (std::string_view(*characters).substr(i, CharacterSize(*characters, i)) == wanted) {
      return true;
    }
  }
  return false;
}

uint32_t Mapped(uint32_t code, bool upper) {
  const auto point = static_cast<utf8proc_int32_t>(code);
  return static_cast<uint32_t>(upper ? utf8proc_toupper(point) : utf8proc_tolower(point));
}

}  // namespace

Origin Text::OriginAt(size_t position) const {
  const auto run = std::upper_bound(runs_.begin(), runs_.end(), position,
                                    [](size_t at, const Run& r) { return at < r.end; });
  return run->origin;
}

void Text::Append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  bytes_.append(bytes);
  if (!runs_.empty() && runs_.back().origin == origin) {
    runs_.back().end = bytes_.size();
  } else {
    runs_.push_back({bytes_.size(), origin});
  }
}

void Text::AppendRange(const Text& other, size_t begin, size_t end) {
  auto run = std::upper_bound(other.runs_.begin(), other.runs_.end(), begin,
                              [](size_t at, const Run& r) { return at < r.end; });
  const std::string_view bytes = other.bytes_;
  for (; begin < end; ++run) {
    const size_t stop = std::min(end, run->end);
    Append(bytes.substr(begin, stop - begin), run->origin);
    begin = stop;
  }
}

Text Text::Substring(size_t begin, size_t end) const {
  Text part;
  part.AppendRange(*this, begin, end);
  return part;
}

void Text::MarkGenerated() {
  for (Run& run : runs_) run.origin.generated = true;
}

size_t CharacterSize(std::string_view text, size_t position) {
  if (position >= text.size()) return 0;
  return static_cast<size_t>(std::max(1, Utf8CharacterLength(text.substr(position, 4))));
}

size_t CountCharacters(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); i += CharacterSize(text, i)) ++count;
  return count;
}

bool IsSpaceAt(std::string_view text, size_t position) { return IsSpace(CharAt(text, position)); }

Text Strip(const Text& text, Side side, const std::string* characters) {
  const std::string_view bytes = text.bytes();
  size_t begin = 0, end = bytes.size();
  while (side != Side::kRight && begin < end && Strips(bytes, begin, characters)) {
    begin += CharacterSize(bytes, begin);
  }
  while (side != Side::kLeft && end > begin) {
    const size_t previous = PreviousCharacter(bytes.substr(0, end), end);
    if (!Strips(bytes.substr(0, end), previous, characters)) break;
    end = previous;
  }
  return text.Substring(begin, end);
}

Text ChangeCase(const Text& text, LetterCase letter_case) {
  Text changed;
  const std::string_view bytes = text.bytes();
  bool starts_word = true;
  for (size_t i = 0; i < bytes.size();) {
    const Char c = CharAt(bytes, i);
    std::string character(bytes.substr(i, c.size));
    if (c.code != kBadByte) {
      const bool upper =
          letter_case == LetterCase::kUpper || (letter_case != LetterCase::kLower && starts_word);
      character.clear();
      AppendUtf8(Mapped(c.code, upper), character);
    }
    const bool cased = c.code != kBadByte && Mapped(c.code, true) != Mapped(c.code, false);
    const bool opens =
        IsSpace(c) ||
        (c.code < 0x80 && kWordOpeners.find(static_cast<char>(c.code)) != std::string_view::npos);
    starts_word = (letter_case == LetterCase::kTitle && !cased) ||
                  (letter_case == LetterCase::kWords && opens);
    changed.Append(character, text.OriginAt(i));
    i += c.size;
  }
  return changed;
}

}  // namespace lorikeet::jinja
