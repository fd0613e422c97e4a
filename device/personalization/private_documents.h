// From the owner's documents to training examples: the only place of this folder that opens
// PrivateText.
//
// A document is an entry, a message, a paragraph.  Documents become pieces (long ones are cut at
// line or sentence ends, and shorter when there are few, so that every part gets some), pieces
// become Sequences: BOS where the vocabulary has one, then the tokens of the piece, cut into
// windows.  The parts that only measure are cut finer, into passages: gains are compared passage by
// passage (judge.h), so a few long ones would prove nothing.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_PRIVATE_DOCUMENTS_H_
#define LORIKEET_DEVICE_PERSONALIZATION_PRIVATE_DOCUMENTS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/style_card.h"
#include "common/adapter/style_match.h"
#include "device/model/model.h"
#include "device/trainer/gradient.h"
#include "device/vault/private_text.h"

namespace lorikeet {

// Longest passage of the selection part and of the judge's: a sentence or two.
inline constexpr size_t kPassageBytes = 240;

struct SplitOptions {
  double judge_share = 0.20;      // of the bytes: the last ones, never trained or chosen on
  double selection_share = 0.15;  // those before: to choose a persona and to stop training
  int window_tokens = 192;        // longest example, BOS included
  int64_t min_tokens = 64;        // less text than this is refused
};

// What the owner gave.  `judge` is empty (then it is cut from the end of `documents`) or given by
// the caller.
struct OwnerText {
  std::vector<PrivateText> documents;
  std::vector<PrivateText> judge;
  // Of the vault, ascending: what may shape an adapter trained on this.  Empty: not from a vault.
  std::vector<int64_t> record_ids = {};
};

inline constexpr size_t kMostSketches = 256;

struct TextSplit {
  std::vector<Sequence> train, selection, judge;
  StyleStatistics style;  // of train and selection
  // Of pieces of both, evenly spread, at most kMostSketches.
  std::vector<DocumentSketch> sketches;
  std::string notice;  // for the owner: what was left out (text_check.h); mostly empty
};

// Copies are left out first (text_check.h).  INVALID_ARGUMENT: no text; noise, not text; fewer than
// min_tokens tokens (says how many there were).
absl::StatusOr<TextSplit> SplitText(const Model& model, const OwnerText& text,
                                    const SplitOptions& options = {});

// Every document as sequences, nothing held out.  Documents without a token to predict are left
// out.
std::vector<Sequence> TokenizeDocuments(const Model& model, std::span<const PrivateText> documents,
                                        int window_tokens);
StyleStatistics CountStyle(std::span<const PrivateText> documents);

// The same text with the judge's part set apart as SplitText would cut it, so that two models judge
// by the same bytes.  Where `text` names its judge already, a copy.
OwnerText SetJudgeApart(const OwnerText& text, const SplitOptions& options);

// One document as sequences in which every byte is predicted, so that models of different
// tokenizers can be compared: without a BOS in the vocabulary a line end stands before each window.
std::vector<Sequence> TokenizeWhole(const Model& model, const PrivateText& document,
                                    int window_tokens);

// Tokens that carry loss: all but the first of each sequence.
int64_t PredictedTokens(std::span<const Sequence> sequences);

// Text cut into pieces of at most `max_bytes`: at the last line end, else sentence end, else space,
// else between two UTF-8 sequences.  Exposed for tests and for public text.
std::vector<std::string_view> CutText(std::string_view text, size_t max_bytes);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_PRIVATE_DOCUMENTS_H_
