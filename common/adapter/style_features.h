// The table of style features: what is counted, how finely it is trusted, which words tell of it.
// Private to style cards.
#ifndef LORIKEET_COMMON_ADAPTER_STYLE_FEATURES_H_
#define LORIKEET_COMMON_ADAPTER_STYLE_FEATURES_H_

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace lorikeet {

// Indices into StyleStatistics::form.  Lengths are log2(1 + mean); rates are square roots of counts
// per 100 words, which steadies the variance of small counts; shares are in [0, 1].
enum class StyleForm {
  kEntryWords,      // log2(1 + mean words an entry)
  kEntrySpread,     // standard deviation of log2(1 + words an entry)
  kSentenceWords,   // log2(1 + mean words a sentence)
  kSentenceSpread,  // standard deviation of log2(1 + words a sentence)
  kWordLetters,     // mean letters a word
  kShortWords,      // share of words of at most 3 letters
  kLongWords,       // share of words of at least 8 letters
  kRichness,        // mean share of different words in windows of 40
  kComma,
  kPeriod,
  kExclamation,
  kQuestion,
  kSemicolon,
  kColon,
  kDash,
  kEllipsis,
  kQuote,
  kBracket,
  kUpperLetters,  // share of letters in upper case
  kLowerStart,    // share of sentences that begin in lower case
  kShout,         // words of two or more letters all in capitals
  kNumber,        // words that begin with a digit
  kTimestamp,     // 09:30, 7.15, 1830h
  kEmoticon,      // :) and emoji
  kElongation,    // soooo, !!, ??
  kContraction,   // don't, it's
  kAbbreviation,  // lol, u, tmrw
  kDialect,       // o', a-goin', ye, afore
  kCourtesy,      // dear, regret, obliged, faithfully
  kIntensifier,   // very, so, absolutely, best, greatest
  kArticle,       // the, a, an
  kFirstPerson,
  kSecondPerson,
  kThirdPerson,
  kPastTense,  // was, had, -ed
  kOpenEnd,    // share of entries that end without . ! ? or a closing mark
  kLineBreak,  // line breaks inside entries
  kForeign,    // letters outside ASCII
  kCount,
};
inline constexpr int kStyleFormCount = static_cast<int>(StyleForm::kCount);

struct StyleFormInfo {
  std::string_view name;
  double spread_floor;    // differences under this are noise in a few hundred words
  std::string_view many;  // "with ..." when clearly above the background; empty: never said
  std::string_view few;   // ... below
};
const std::array<StyleFormInfo, kStyleFormCount>& StyleFormTable();

// Code points of `text`, typographic apostrophes made plain; a byte that begins no valid UTF-8
// sequence is U+FFFD.
std::u32string DecodeStyleText(std::string_view text);
bool IsStyleSpace(char32_t c);
bool IsStyleLetter(char32_t c);
char32_t StyleLower(char32_t c);  // ASCII

// Word lists, sorted for binary search; lower case.
enum class StyleWordList {
  kAbbreviation,
  kDialect,
  kCourtesy,
  kIntensifier,
  kFirstPerson,
  kSecondPerson,
  kThirdPerson,
  kPast
};
bool InStyleWordList(StyleWordList list, std::string_view word);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_STYLE_FEATURES_H_
