// Finds tokens that are recognised as whole strings in text: control tokens and user-defined ones.
#ifndef LORIKEET_COMMON_TOKENIZER_SPECIAL_TOKENS_H_
#define LORIKEET_COMMON_TOKENIZER_SPECIAL_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace lorikeet {

// A stretch of the text: plain (id < 0) or one special token.
struct TextSegment {
  std::string_view text;
  int32_t id = -1;
};

// Immutable after the constructor; thread-safe.  Borrows the strings.
class SpecialTokens {
 public:
  using Entry = std::pair<std::string_view, int32_t>;

  SpecialTokens() = default;
  explicit SpecialTokens(std::vector<Entry> tokens);

  // Longer tokens win over shorter ones wherever they stand, as in llama.cpp; then lower ids; then
  // the leftmost. No empty segments.
  std::vector<TextSegment> Split(std::string_view text) const;

 private:
  struct Match {
    size_t begin, end;
    int32_t id;
  };
  void MatchesAt(std::string_view text, size_t begin, std::vector<Match>& matches) const;

  std::vector<Entry> tokens_;  // sorted by text
  std::array<bool, 256> starts_{};
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_SPECIAL_TOKENS_H_
