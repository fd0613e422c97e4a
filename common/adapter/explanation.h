// Explanation vectors as in XPerT (arXiv 2504.13938): what a text is like, as weights on
// adjectives.
//
// A language model reads the text; its mean hidden state, less that of neutral text and in units of
// neutral spread, is the text's difference.  The difference is written as a sum of directions that
// have names ("concise", "formal"), with weights of at least 0; what the names cannot say is the
// residual.  Here: the arithmetic.  Not here: hidden states and where directions come from
// (device/personalization/explainer.h).  Statistics of the text itself: style_card.h.
#ifndef LORIKEET_COMMON_ADAPTER_EXPLANATION_H_
#define LORIKEET_COMMON_ADAPTER_EXPLANATION_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

inline constexpr size_t kMaxExplanationWords = 128;
inline constexpr size_t kMaxExplanationWordBytes = 32;

// The named directions of one base model.  No words: none.
struct ExplanationAxes {
  std::vector<std::string> words;                   // unique; a-z and "-"
  int width = 0;                                    // C of the base
  std::vector<float> neutral_mean, neutral_spread;  // [C] hidden states of neutral text
  std::vector<float> directions;  // [words, C] row-major, unit length, in units of neutral_spread

  bool empty() const { return words.empty(); }
};

struct Explanation {
  std::vector<double> weights;  // [words], >= 0
  double residual = 1;          // |what the words do not say| / |difference|, 0 to 1
};

// OK if all sizes agree and all values are finite, spreads positive, directions of unit length (to
// 1e-3), words well-formed and unique; also for no axes at all.  INVALID_ARGUMENT says what was
// expected and what came.
absl::Status CheckExplanationAxes(const ExplanationAxes& axes);

// OK for a word of 1 to 32 bytes of a-z, with "-" between letters.
bool IsExplanationWord(std::string_view word);

// mean_hidden [C].  Weights are in units of one neutral spread a dimension (root mean square), so
// that they compare between bases.  Deterministic.  A difference of nothing has no weights and
// residual 1.  INVALID_ARGUMENT: another width, non-finite.  REQUIRES: CheckExplanationAxes.
absl::StatusOr<Explanation> Decompose(const ExplanationAxes& axes,
                                      std::span<const float> mean_hidden);

// L1 distance of the weights, as XPerT.  REQUIRES: of the same axes.
double ExplanationDistance(const Explanation& a, const Explanation& b);

// Indices of the `count` largest weights above `least`, largest first.
std::vector<size_t> StrongestWords(std::span<const double> weights, size_t count, double least);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_EXPLANATION_H_
