#include "device/retrieval/passage_index.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {
namespace {

const TextAccess& Access() {
  static const TextAccess access("retrieval: index in memory, passages for the owner's own prompt");
  return access;
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

// Letters and digits in lower case, words apart by one space: what two copies of a sentence share.
std::string Normalized(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || byte >= 0x80) {
      result.push_back(absl::ascii_tolower(byte));
    } else if (!result.empty() && result.back() != ' ') {
      result.push_back(' ');
    }
  }
  if (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

bool Contains(std::string_view text, std::string_view words) {
  // Whole words: " a b " in " x a b y ".
  return absl::StrCat(" ", ToAbsl(text), " ").find(absl::StrCat(" ", ToAbsl(words), " ")) !=
         std::string::npos;
}

}  // namespace

std::vector<std::string_view> CutPassages(std::string_view text, size_t most_bytes) {
  std::vector<std::string_view> passages;
  const auto add = [&](std::string_view joined) {
    for (const std::string_view piece : CutText(joined, most_bytes)) {
      if (const std::string_view trimmed = Trim(piece); !trimmed.empty()) {
        passages.push_back(trimmed);
      }
    }
  };
  size_t begin = 0, end = 0;  // of paragraphs joined so far
  while (end < text.size()) {
    size_t next = text.find("\n\n", end);
    next = next == std::string_view::npos ? text.size() : text.find_first_not_of("\r\n", next);
    next = std::min(next, text.size());
    if (next - begin > most_bytes && end > begin) {
      add(text.substr(begin, end - begin));
      begin = end;
    }
    end = next;
  }
  add(text.substr(begin));
  return passages;
}

absl::StatusOr<std::unique_ptr<PassageIndex>> PassageIndex::Create(
    const PassageIndexOptions& options) {
  ASSIGN_OR_RETURN(auto index, TextIndex::Create());
  return std::unique_ptr<PassageIndex>(new PassageIndex(std::move(index), options));
}

absl::StatusOr<std::unique_ptr<PassageIndex>> PassageIndex::OfVault(
    const Vault& vault, const PassageIndexOptions& options) {
  ASSIGN_OR_RETURN(auto index, Create(options));
  ASSIGN_OR_RETURN(std::vector<VaultDocument> records, vault.Records(Purpose::kRetrieve));
  size_t first = records.size();
  for (size_t bytes = 0; first > 0; --first) {
    bytes += records[first - 1].text.size_bytes();
    if (bytes > options.most_bytes) break;
  }
  for (size_t i = 0; i < first; ++i) index->left_out_bytes_ += records[i].text.size_bytes();
  ASSIGN_OR_RETURN(Transaction transaction, index->index_->Begin());
  for (size_t i = first; i < records.size(); ++i) {
    RETURN_IF_ERROR(index->Add(records[i].id, std::move(records[i].text)));
  }
  RETURN_IF_ERROR(transaction.Commit());
  return index;
}

absl::Status PassageIndex::Add(int64_t record, PrivateText text) {
  texts_.push_back(std::move(text));
  const std::string_view words = texts_.back().Open(Access());
  text_bytes_ += words.size();
  for (const std::string_view piece : CutPassages(words, options_.passage_bytes)) {
    RETURN_IF_ERROR(index_->Add(static_cast<int64_t>(passages_.size()), piece));
    passages_.push_back({.record = record,
                         .text = texts_.size() - 1,
                         .begin = static_cast<size_t>(piece.data() - words.data()),
                         .size = piece.size()});
  }
  return absl::OkStatus();
}

std::string_view PassageIndex::TextOf(const Passage& passage) const {
  return texts_[passage.text].Open(Access()).substr(passage.begin, passage.size);
}

absl::StatusOr<std::vector<PassageHit>> PassageIndex::Find(std::string_view query, int limit) {
  std::vector<PassageHit> hits;
  // Some of what is found says the same again.
  ASSIGN_OR_RETURN(const std::vector<TextMatch> matches,
                   index_->Search(query, int64_t{4} * std::max(limit, 0) + 16));
  std::vector<std::string> said = {Normalized(query)};
  for (const TextMatch& match : matches) {
    if (static_cast<int>(hits.size()) >= limit) break;
    const Passage& passage = passages_[static_cast<size_t>(match.id)];
    const std::string_view text = TextOf(passage);
    std::string words = Normalized(text);
    const bool again = std::ranges::any_of(said, [&](const std::string& other) {
      return Contains(other, words) || (&other != &said[0] && Contains(words, other));
    });
    if (again) continue;
    said.push_back(std::move(words));
    hits.push_back({.record = passage.record, .score = match.score, .text = text});
  }
  return hits;
}

}  // namespace lorikeet
