// Style cards: how somebody writes, in numbers and in words, without what they wrote.
//
// Statistics are counted over documents (entries, messages): named form features (lengths,
// punctuation, casing, ...), rates of common function words, and a hashed character-trigram sketch.
// A background (robust centre and spread over neutral text) turns them into z-scores, distances,
// weights on named axes and one plain sentence. Text in any encoding is accepted: UTF-8 is decoded
// where valid, other bytes count as unknown letters. Not here: hidden-state embeddings of the
// explanation axes.  A card names its axes, so a card made from a model's hidden states (arXiv
// 2504.13938) carries the same Explanation and is compared by the same ExplanationDistance.
#ifndef LORIKEET_COMMON_ADAPTER_STYLE_CARD_H_
#define LORIKEET_COMMON_ADAPTER_STYLE_CARD_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

// Changes whenever a feature, the word list or the sketch changes; cards of another version are
// refused.
inline constexpr int kStyleCardVersion = 1;
inline constexpr int kStyleSketchBins = 256;

// Names in the order of StyleStatistics::form and ::words.
std::span<const std::string_view> StyleFormNames();
std::span<const std::string_view> StyleFunctionWords();
// Names of the explanation axes, named after their positive end ("formal": -1 informal, +1 formal).
std::span<const std::string_view> StyleAxisNames();

struct StyleStatistics {
  std::vector<double> form;   // [StyleFormNames().size()]
  std::vector<double> words;  // square roots of counts per 100 words, [StyleFunctionWords().size()]
  std::vector<double>
      sketch;  // shares of hashed character trigrams, sums to 1 (or all 0); [kStyleSketchBins]
  int64_t document_count = 0;
  int64_t word_count = 0;
};

// Robust centre (median) and spread (scaled median absolute deviation, with a floor) over chunks of
// neutral text.
struct StyleBackground {
  std::vector<double> form_center, form_spread;
  std::vector<double> words_center, words_spread;
  std::vector<double> sketch;
};

struct StyleCard {
  StyleStatistics statistics;
  std::vector<double> explanation;  // weights in [-1, 1], [StyleAxisNames().size()]
  std::string sentence;             // "short, lower-case messages with many exclamation marks"
};

// Counts over documents.  Empty documents are allowed and change nothing but the document count.
StyleStatistics CountStyle(std::span<const std::string_view> documents);
// Groups documents into chunks of about `chunk_words` words and takes robust statistics over them.
StyleBackground MakeStyleBackground(std::span<const std::string_view> documents,
                                    int chunk_words = 80);
StyleCard MakeStyleCard(StyleStatistics statistics, const StyleBackground& background);

// In [0, 1], 0 for equal statistics: 0.45 x mean clipped z-difference of form + 0.2 x the same of
// function words + 0.35 x (1 - correlation of the sketches, background removed) / 2.
double StyleDistance(const StyleStatistics& a, const StyleStatistics& b,
                     const StyleBackground& background);
// Mean absolute difference of the axis weights, halved: in [0, 1].
double ExplanationDistance(std::span<const double> a, std::span<const double> b);

// "formal 0.8" style lists of the `count` axes on which the two agree most strongly; for reasons
// shown to people.
std::string SharedTraits(const StyleCard& a, const StyleCard& b, int count);

// JSON (deterministic, a few kilobytes).  INVALID_ARGUMENT: malformed, other version, wrong sizes,
// non-finite.
std::string StyleCardToJson(const StyleCard& card);
absl::StatusOr<StyleCard> StyleCardFromJson(std::string_view json);
std::string StyleBackgroundToJson(const StyleBackground& background);
absl::StatusOr<StyleBackground> StyleBackgroundFromJson(std::string_view json);
// Sizes and finiteness, as the readers check.
absl::Status CheckStyleCard(const StyleCard& card);
absl::Status CheckStyleBackground(const StyleBackground& background);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_STYLE_CARD_H_
