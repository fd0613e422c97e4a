// Full-text index of texts that must not lie on disk: SQLite FTS5 in memory, English word stems,
// BM25.
//
// The index holds words and their places, not the texts; it is wiped with the process's memory and
// is never written anywhere (temp_store is memory too).  Queries are free text: no byte of them is
// an operator.  Not a store of texts: see Vault and PassageIndex.
#ifndef LORIKEET_DEVICE_VAULT_TEXT_INDEX_H_
#define LORIKEET_DEVICE_VAULT_TEXT_INDEX_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sqlite/database.h"

namespace lorikeet {

struct TextMatch {
  int64_t id = 0;
  double score = 0;  // BM25, higher is better
};

// A very common English word, or what a contraction leaves at its apostrophe; `word` in lower case.
bool IsStopWord(std::string_view word);

// The words of `query` to look for, lower case in ASCII, each once, in the order of their last
// places: without the most common English words, unless there are no others; the last 64 if there
// are more (a question stands at the end of a prompt).
std::vector<std::string> QueryWords(std::string_view query);

// Not thread-safe.
class TextIndex {
 public:
  static absl::StatusOr<std::unique_ptr<TextIndex>> Create();

  // `id` must be new.  Faster between Begin and Commit of `transaction()`.
  absl::Status Add(int64_t id, std::string_view text);
  absl::StatusOr<Transaction> Begin() { return Transaction::Begin(database_.get()); }

  // Texts with any of the query's words, best first, the lowest id of equals.  Empty if the query
  // has no word.
  absl::StatusOr<std::vector<TextMatch>> Search(std::string_view query, int64_t limit);

 private:
  TextIndex(std::unique_ptr<Database> database, Statement insert, Statement match)
      : database_(std::move(database)), insert_(std::move(insert)), match_(std::move(match)) {}

  std::unique_ptr<Database> database_;
  Statement insert_, match_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_VAULT_TEXT_INDEX_H_
