// Bytes that remember where they come from.
//
// A template joins its own markup with the words of messages.  Tokenizing needs to know which is
// which: "<|im_end|>" in a message is text, in the template it is a token.  So every byte carries
// its Origin through concatenation, trimming, slicing and replacing.
#ifndef LORIKEET_DEVICE_TEMPLATE_TEXT_H_
#define LORIKEET_DEVICE_TEMPLATE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet::jinja {

// Of bytes that the template itself wrote.
inline constexpr int32_t kMarkup = -1;

struct Origin {
  int32_t source = kMarkup;  // kMarkup, or the number that the caller gave to a value
  bool generated = false;    // written inside {% generation %}
  bool operator==(const Origin&) const = default;
};

class Text {
 public:
  struct Run {
    size_t end = 0;
    Origin origin;
  };

  Text() = default;
  explicit Text(std::string_view bytes, Origin origin = {}) { Append(bytes, origin); }

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  // Neighbouring stretches of different origin, in order; the last ends at size().
  const std::vector<Run>& runs() const { return runs_; }
  // REQUIRES: position < size().
  Origin OriginAt(size_t position) const;

  void Append(std::string_view bytes, Origin origin);
  void Append(const Text& other) { AppendRange(other, 0, other.size()); }
  // Bytes [begin, end) of `other`.  REQUIRES: begin <= end <= other.size(), &other != this.
  void AppendRange(const Text& other, size_t begin, size_t end);
  // REQUIRES: begin <= end <= size().
  Text Substring(size_t begin, size_t end) const;
  // Everything is marked as written inside {% generation %}.
  void MarkGenerated();

 private:
  std::string bytes_;
  std::vector<Run> runs_;
};

// What Python's str methods see: characters are those of UTF-8; a byte that is not part of valid
// UTF-8 is a character of its own.
size_t CharacterSize(std::string_view text, size_t position);  // 0 at the end
size_t CountCharacters(std::string_view text);
// str.isspace() of the character at `position`.
bool IsSpaceAt(std::string_view text, size_t position);

enum class Side : uint8_t { kBoth, kLeft, kRight };
// str.strip, lstrip, rstrip: white space, or the characters of `characters` if not null.
Text Strip(const Text& text, Side side, const std::string* characters = nullptr);

// kTitle: str.title(), words are runs of letters; kWords: Jinja's filter, words follow white space
// and -({[<.
enum class LetterCase : uint8_t { kUpper, kLower, kTitle, kWords, kCapitalize };
// By Unicode's simple mappings (one character to one: "ß" stays).
Text ChangeCase(const Text& text, LetterCase letter_case);

}  // namespace lorikeet::jinja

#endif  // LORIKEET_DEVICE_TEMPLATE_TEXT_H_
