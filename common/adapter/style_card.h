// Style cards: how somebody writes, in numbers and in words, without what they wrote.
//
// Statistics are counted over documents (entries, messages): named form features (lengths,
// punctuation, casing, ...), rates of common function words, and a sketch: frequencies of hashed
// words and character runs (style_match.h).  A background (robust centre and spread over neutral
// text) turns them into z-scores, distances, named traits and one plain sentence. Text in any
// encoding is accepted: UTF-8 is decoded where valid, other bytes count as unknown letters. The
// explanation vector of a card comes from a model's hidden states (explanation.h).
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
inline constexpr int kStyleCardVersion = 2;
inline constexpr int kStyleSketchBins = 4096;

// Names in the order of StyleStatistics::form and ::words.
std::span<const std::string_view> StyleFormNames();
std::span<const std::string_view> StyleFunctionWords();
// Names of the traits, after their positive end ("formal": -1 informal, +1 formal).
std::span<const std::string_view> StyleTraitNames();

// Lengths of documents: log2(1 + words), over documents with a word.
struct LengthStatistics {
  double mean = 0;
  double spread = 0;  // standard deviation
};

struct StyleStatistics {
  std::vector<double> form;   // [StyleFormNames().size()]
  std::vector<double> words;  // square roots of counts per 100 words, [StyleFunctionWords().size()]
  std::vector<double>
      sketch;  // shares of hashed features, sums to about 1 (or all 0); [kStyleSketchBins]
  int64_t document_count = 0;
  int64_t word_count = 0;
  int64_t feature_count = 0;  // of the sketch
  LengthStatistics length;
};

// Robust centre (median) and spread (scaled median absolute deviation, with a floor) over chunks of
// neutral text.
struct StyleBackground {
  std::vector<double> form_center, form_spread;
  std::vector<double> words_center, words_spread;
  std::vector<double> sketch;
  int64_t feature_count = 0;  // of the sketch
  LengthStatistics length;    // not robust: of all documents
};

struct StyleCard {
  StyleStatistics statistics;
  // Weights >= 0 on the words of the catalog's axes and what they leave unexplained, in [0, 1];
  // empty and 1 where there are no axes.
  std::vector<double> explanation;
  double explanation_residual = 1;
  std::string sentence;      // "short, lower-case messages with many exclamation marks"
  double self_evidence = 0;  // style_match.h: SelfEvidence; 0: not known
  // By how much the persona predicts text like its own, held out of training, better than the bare
  // base, nats a token; 0: not known.
  double gain = 0;
};

// Counts over documents.  Empty documents are allowed and change nothing but the document count.
StyleStatistics CountStyle(std::span<const std::string_view> documents);
// Groups documents into chunks of about `chunk_words` words and takes robust statistics over them.
StyleBackground MakeStyleBackground(std::span<const std::string_view> documents,
                                    int chunk_words = 80);
// Statistics and sentence; the explanation, self_evidence and gain are left as they are by
// default.
StyleCard MakeStyleCard(StyleStatistics statistics, const StyleBackground& background);
// Weights in [-1, 1] on StyleTraitNames().
std::vector<double> StyleTraits(const StyleStatistics& statistics,
                                const StyleBackground& background);

// In [0, 1], 0 for equal statistics: 0.45 x mean clipped z-difference of form + 0.2 x the same of
// function words + 0.35 x (1 - correlation of the sketches, background removed) / 2.
double StyleDistance(const StyleStatistics& a, const StyleStatistics& b,
                     const StyleBackground& background);
// "formal, short": the `count` traits on which the two agree most strongly; for reasons shown to
// people.
std::string SharedTraits(const StyleStatistics& a, const StyleStatistics& b,
                         const StyleBackground& background, int count);

// Shares as a card stores them: in steps of 4.5 %, 0 below 2^-20.
double RoundShare(double share);

// JSON (deterministic, a few kilobytes).  INVALID_ARGUMENT: malformed, other version, wrong sizes,
// non-finite.
std::string StyleCardToJson(const StyleCard& card);
absl::StatusOr<StyleCard> StyleCardFromJson(std::string_view json);
std::string StyleBackgroundToJson(const StyleBackground& background);
absl::StatusOr<StyleBackground> StyleBackgroundFromJson(std::string_view json);
// Sizes, finiteness, and a sentence of plain text (plain_text.h), as the readers check.
absl::Status CheckStyleCard(const StyleCard& card);
absl::Status CheckStyleBackground(const StyleBackground& background);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_STYLE_CARD_H_
