// Where the end of a text was seen before: an index of n-grams of tokens, for drafting
// (lookup_decoder.h).
//
// As in prompt lookup decoding (Saxena 2023) and LLMA (arXiv 2304.04487): what followed the longest
// earlier copy of the last few tokens is likely to follow again.  The index of a conversation grows
// by a token at a time; one of other texts is built once and asked with a foreign text's end, as
// REST does (arXiv 2311.08252).  Structure: hash chains as in LZ77 compressors.  Not a language
// model: no counts, no probabilities.
#ifndef LORIKEET_DEVICE_RUNTIME_LOOKUP_INDEX_H_
#define LORIKEET_DEVICE_RUNTIME_LOOKUP_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/tokenizer/tokenizer.h"

namespace lorikeet {

// A copy of the end of a text: tokens [position - length, position) of the index.
struct LookupMatch {
  int length = 0;  // 0: none; at least LookupIndex::kShortest otherwise
  size_t position = 0;
};

// About 16 bytes a token.  Not thread-safe.
class LookupIndex {
 public:
  static constexpr int kShortest = 2;
  // Matches are not followed further back than this.
  static constexpr int kLongest = 32;

  void Append(TokenId token);
  void Append(std::span<const TokenId> tokens);
  // What follows is another text: no match and no continuation reaches across.
  void EndText();

  // The longest copy of the end of `text`, the newest of equals, among the newest 16 copies of its
  // last three tokens; failing that the newest copy of its last two.  `text` may be this index's
  // own tokens: its very end is not found.
  LookupMatch Find(std::span<const TokenId> text) const;

  // Up to `count` tokens that followed the match.  Where a text ends in the middle of repeating
  // itself the repetition goes on.
  void Continue(const LookupMatch& match, int count, std::vector<TokenId>* out) const;

  std::span<const TokenId> tokens() const { return tokens_; }

 private:
  // Positions (of the token after the n-gram) by hash; 0 is none: nothing ends before a token 0.
  struct Heads {
    std::vector<uint32_t> table;
    uint32_t& of(uint64_t hash) { return table[hash & (table.size() - 1)]; }
    uint32_t of(uint64_t hash) const { return table[hash & (table.size() - 1)]; }
  };

  void InsertEndingAt(size_t end);
  void Grow();
  int MatchLength(std::span<const TokenId> text, size_t position) const;

  std::vector<TokenId> tokens_;     // -1 between texts
  std::vector<uint32_t> previous_;  // [position]: the one before with the same hash of three tokens
  Heads threes_, twos_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_LOOKUP_INDEX_H_
