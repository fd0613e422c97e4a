// People of a data set for the retrieval experiment: what their vaults hold, what is asked, and
// which words of an answer are facts to recall.
//
// Reads samples.jsonl (user, split, text, context) and, beside it, users.jsonl ("persona": facts in
// sentences).  Facts are counted by words, so the definitions are here in one place:
//   content word: letters and digits, lower case, no stop word (QueryWords), 3 bytes or more, a
//     plural "s" cut off.
//   fact word of an answer: a content word that the vault holds (train text), that the user's
//     persona sentences hold where there are any, that at most 5 % of the other users' persona
//     sentences (or train texts) hold, and that the question does not hold.
#ifndef LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_DATA_H_
#define LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_DATA_H_

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lorikeet {

// A held-out text and what stood before it.
struct HeldOutText {
  std::string before;  // question, or the first half of the text itself
  std::string text;
  bool continues = false;  // `text` goes on in the middle of a line of `before`
  // Bytes [begin, end) of fact words in `text`.
  struct Range {
    size_t begin = 0, end = 0;
  };
  std::vector<Range> facts;
};

struct VaultMessage {
  std::string before;  // as above; not in the vault
  std::string text;
};

// A question of somebody who wants to know, and the persona sentence that answers it, with other
// people's sentences that share no content word with it.
struct FactQuestion {
  std::string before;
  std::vector<std::string> sentences;  // the true one first
};

struct RetrievalUser {
  std::string name;
  std::vector<VaultMessage> vault;
  std::vector<HeldOutText> held_out;
  std::vector<FactQuestion> questions;  // empty where the set has no persona sentences
};

struct RetrievalDataOptions {
  int users = 60;              // taken evenly over the file; 0: all
  int texts = 12;              // held-out ones of a user at most
  size_t text_bytes = 400;     // of a held-out text at most
  size_t vault_bytes = 16384;  // of a user's vault: the newest
  int candidates = 10;         // sentences of a question
  uint64_t seed = 1;
};

struct RetrievalData {
  std::vector<RetrievalUser> users;
  bool has_questions = false;
  // Held-out texts left out because their conversation shares a message of over 40 bytes with a
  // train split, where a base model may have seen it.
  int64_t leaky_texts = 0;
  int64_t held_out_texts = 0;
};

// INVALID_ARGUMENT: a malformed line (with its number), fewer than 4 users with text of both
// splits.
absl::StatusOr<RetrievalData> ReadRetrievalData(const std::string& samples_path,
                                                const RetrievalDataOptions& options);

// A word and where it stands in its text.
struct ContentWord {
  std::string word;
  size_t begin = 0, end = 0;
};
std::vector<ContentWord> ContentWords(std::string_view text);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_DATA_H_
