// Style evidence: how much more somebody's documents read like a persona's text than like neutral
// text.
//
// A document is a bag of hashed features (words, and runs of 3 and 4 characters as written); a card
// holds their frequencies in the persona's text, the background in neutral text.  A document's log
// ratio under persona k is tempered (features overlap, so they count several times over) and the
// owner's text is taken for a mixture: a share s of the documents follows the persona, the rest is
// neutral.  The evidence of a persona is the likelihood of that mixture with s unknown, so a
// persona that explains a third of the documents very well is found although the other two thirds
// speak against it.  With the 28 authors of the evaluation, 20 examples and half of them neutral,
// this finds the author in 95 of 100 trials, the pooled ratio in 68.
//
// Not here: what a model thinks of the text (device/personalization/selector.h weighs both).
#ifndef LORIKEET_COMMON_ADAPTER_STYLE_MATCH_H_
#define LORIKEET_COMMON_ADAPTER_STYLE_MATCH_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/adapter/style_card.h"

namespace lorikeet {

// Hashed features of one document, repeats included, each < kStyleSketchBins.  It tells about the
// text: as private as the text itself.
struct DocumentSketch {
  std::vector<uint16_t> features;
  double log_words = 0;  // log2(1 + words)
};
DocumentSketch SketchDocument(std::string_view document);

struct StyleEvidence {
  // Natural logarithm of the likelihood of the documents as a mixture of this persona and neutral
  // text, over that of neutral text alone.  Above 0: the persona explains something.
  double log_evidence = 0;
  double share = 0;  // of the documents that read like the persona, in [0, 1]
  // Mean log ratio a feature of those documents to the background, over the persona's own
  // (StyleCard::self_evidence): about 1 for text of the persona itself, near 0 for a stranger's.  1
  // where the card does not know its own.
  double typicality = 1;
};

// Logarithm of the mean likelihood of documents of which an unknown share follows an alternative,
// over that of none doing so; `log_ratios`: of the alternative, a document.  0 for no documents.
double MixtureEvidence(std::span<const double> log_ratios);

// What a catalog's cards say about documents; a table of logarithms, made once.  Thread-safe.
class StyleMatcher {
 public:
  // Copies what it needs.  REQUIRES: checked cards and background.
  StyleMatcher(const StyleBackground& background, std::span<const StyleCard* const> cards);

  // One entry a card, in their order.  Documents without features are neutral.
  std::vector<StyleEvidence> Match(std::span<const DocumentSketch> documents) const;

 private:
  friend double SelfEvidence(std::span<const std::string_view>, const StyleBackground&);
  // [cards] log ratios of one document, untempered; all 0 without features.
  std::vector<double> Ratios(const DocumentSketch& document) const;
  // Logarithm of the neutral text that ratios are against over the background alone, summed over a
  // document's features: what all personas have in common.
  double CommonRatio(const DocumentSketch& document) const;
  double LengthRatio(size_t card, double log_words) const;

  size_t count_ = 0;
  std::vector<float> ratios_;              // [kStyleSketchBins, cards]
  std::vector<double> common_;             // [kStyleSketchBins]
  std::vector<LengthStatistics> lengths_;  // [cards]
  LengthStatistics background_length_;
  std::vector<double> self_evidence_;
};

// Mean log ratio to the background a feature of documents under a card made of the others (each
// fifth held out in turn): what a persona's own text looks like to its card.  0 for fewer than five
// documents.
double SelfEvidence(std::span<const std::string_view> documents, const StyleBackground& background);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_STYLE_MATCH_H_
