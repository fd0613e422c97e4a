// Choosing passages for one prompt within a budget of tokens, and how they stand in it.
//
// A prompt without chat template begins with the passages, a line each, and an empty line: text
// such as a base model has seen, with nothing in it that speaks to a reader.  In a conversation
// they stand in the user's message before the question (MessageFrame).  Passages are words: special
// tokens written in them are never recognised.
#ifndef LORIKEET_DEVICE_RETRIEVAL_PASSAGES_H_
#define LORIKEET_DEVICE_RETRIEVAL_PASSAGES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"
#include "device/retrieval/passage_index.h"

namespace lorikeet {

struct RetrieveOptions {
  int max_tokens = 128;  // of all passages with their line ends; 0: no retrieval
  int max_passages = 8;
  // The best next to the question.  First is as good or a little better (simulations/retrieval).
  bool best_last = false;
};

struct ChosenPassage {
  int64_t record = 0;
  double score = 0;
  int tokens = 0;
  std::string_view text;  // borrows from the index
};

// In the order in which they stand in the prompt.  What does not fit is passed over for what does;
// if not even the best fits it is cut.
absl::StatusOr<std::vector<ChosenPassage>> ChoosePassages(PassageIndex& index,
                                                          const Tokenizer& tokenizer,
                                                          std::string_view query,
                                                          const RetrieveOptions& options);

// Tokens of the passages, a line each, then an empty line; none for no passage.
std::vector<TokenId> PassageTokens(const Tokenizer& tokenizer,
                                   std::span<const ChosenPassage> passages);
// `prompt` with the passages behind its BOS, or in front where it has none.
std::vector<TokenId> WithPassages(const Tokenizer& tokenizer,
                                  std::span<const ChosenPassage> passages,
                                  std::span<const TokenId> prompt);
// A user's message: the passages as notes, then the question.
std::string MessageFrame(std::span<const ChosenPassage> passages, std::string_view question);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RETRIEVAL_PASSAGES_H_
