#include "device/vault/text_index.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr size_t kMostWords = 64;

// Words that say nothing about what a text is about, and what contractions leave at an apostrophe.
// In a vault of a few dozen messages BM25's own weights cannot tell them from rare words.  Sorted.
constexpr auto kStopWords = std::to_array<std::string_view>(
    {"a",      "about", "after",  "all",   "also",  "am",     "an",    "and",   "any",  "are",
     "aren",   "as",    "at",     "be",    "been",  "being",  "but",   "by",    "can",  "could",
     "couldn", "d",     "did",    "didn",  "do",    "does",   "doesn", "doing", "don",  "for",
     "from",   "get",   "go",     "got",   "had",   "has",    "have",  "haven", "he",   "her",
     "him",    "his",   "how",    "i",     "if",    "in",     "into",  "is",    "isn",  "it",
     "its",    "just",  "know",   "ll",    "m",     "me",     "more",  "most",  "much", "my",
     "no",     "not",   "of",     "oh",    "ok",    "okay",   "on",    "or",    "our",  "out",
     "over",   "re",    "really", "s",     "she",   "should", "so",    "some",  "such", "t",
     "than",   "that",  "the",    "their", "them",  "then",   "there", "these", "they", "this",
     "those",  "to",    "too",    "up",    "us",    "ve",     "very",  "was",   "wasn", "we",
     "well",   "were",  "what",   "when",  "where", "which",  "who",   "why",   "will", "with",
     "won",    "would", "yeah",   "yes",   "you",   "your"});

}  // namespace

bool IsStopWord(std::string_view word) { return std::ranges::binary_search(kStopWords, word); }

std::vector<std::string> QueryWords(std::string_view query) {
  std::vector<std::string> words;
  std::string word;
  const auto flush = [&] {
    if (word.empty()) return;
    std::erase(words, word);
    words.push_back(std::exchange(word, {}));
    // Bounded work for a prompt of any length.
    if (words.size() > 4 * kMostWords) words.erase(words.begin());
  };
  for (const char c : query) {
    const bool letter =
        std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
    if (letter) {
      word.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
    } else {
      flush();
    }
  }
  flush();
  if (!std::ranges::all_of(words, IsStopWord)) std::erase_if(words, IsStopWord);
  if (words.size() > kMostWords) words.erase(words.begin(), words.end() - kMostWords);
  return words;
}

absl::StatusOr<std::unique_ptr<TextIndex>> TextIndex::Create() {
  ASSIGN_OR_RETURN(auto database, Database::Open(":memory:", {}));
  RETURN_IF_ERROR(database->Execute(
      "PRAGMA temp_store = MEMORY;"
      "CREATE VIRTUAL TABLE texts USING fts5(text, content = '', tokenize = 'porter unicode61')"));
  ASSIGN_OR_RETURN(auto insert, database->Prepare("INSERT INTO texts(rowid, text) VALUES(?, ?)"));
  ASSIGN_OR_RETURN(auto match, database->Prepare("SELECT rowid, -bm25(texts) FROM texts WHERE "
                                                 "texts MATCH ? ORDER BY 2 DESC, 1 LIMIT ?"));
  return std::unique_ptr<TextIndex>(
      new TextIndex(std::move(database), std::move(insert), std::move(match)));
}

absl::Status TextIndex::Add(int64_t id, std::string_view text) {
  return insert_.Bind(1, id).BindText(2, text).Run();
}

absl::StatusOr<std::vector<TextMatch>> TextIndex::Search(std::string_view query, int64_t limit) {
  // Each word is quoted, so that FTS5's operators mean nothing.
  std::string expression;
  for (const std::string& word : QueryWords(query)) {
    absl::StrAppend(&expression, expression.empty() ? "" : " OR ", "\"", word, "\"");
  }
  std::vector<TextMatch> matches;
  if (expression.empty()) return matches;
  match_.Reset();
  match_.BindText(1, expression).Bind(2, limit);
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, match_.Step());
    if (!more) break;
    matches.push_back({match_.Int(0), match_.Double(1)});
  }
  match_.Reset();
  return matches;
}

}  // namespace lorikeet
