// 28 synthetic styles, 2 x 2 x 7 as XPerT's (arXiv 2504.13938): short or long, formal or informal,
// and seven tones.  Deterministic writers of endless everyday text, for measuring persona
// selection without anybody's private text.
//
// All styles and the neutral text come from one grammar with the same topics, so subjects tell
// nothing; a style changes lengths, words, contractions, casing, marks, openers and closers, each
// with a chance, and a part of the documents hardly at all.  Neighbours share two of three factors.
#ifndef LORIKEET_SIMULATIONS_SELECTION_STYLES_H_
#define LORIKEET_SIMULATIONS_SELECTION_STYLES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/random.h"

namespace lorikeet {

enum class StyleLength { kAny, kShort, kLong };
enum class StyleRegister { kPlain, kFormal, kInformal };

struct SyntheticStyle {
  std::string id;  // "short-informal-ironic"
  StyleLength length = StyleLength::kAny;
  StyleRegister speech = StyleRegister::kPlain;
  int tone = -1;  // index into StyleTones(); -1: none
};

// The 28 styles, in an order in which every prefix holds a mix of the factors.
std::vector<SyntheticStyle> SyntheticStyles();
// The same grammar without a style.
SyntheticStyle NeutralStyle();

// `count` documents of one to six sentences.  The same style and seed give the same documents.
std::vector<std::string> WriteDocuments(const SyntheticStyle& style, int count, uint64_t seed);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_STYLES_H_
