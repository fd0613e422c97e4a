// Vault::Search: full-text search over an index that lives in memory only.
#include <cctype>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/vault/vault.h"

namespace lorikeet {
namespace {

// Words of the query, each quoted so that FTS5 operators in it mean nothing, joined by OR.
std::string MatchExpression(std::string_view query) {
  std::string expression, word;
  const auto flush = [&] {
    if (word.empty()) return;
    absl::StrAppend(&expression, expression.empty() ? "" : " OR ", "\"", word, "\"");
    word.clear();
  };
  for (const char c : query) {
    const bool letter =
        std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
    if (letter) {
      word.push_back(c);
    } else {
      flush();
    }
  }
  flush();
  return expression;
}

}  // namespace

absl::StatusOr<std::vector<SearchHit>> Vault::Search(std::string_view query, int limit,
                                                     std::optional<Purpose> purpose) const {
  const std::string expression = MatchExpression(query);
  if (expression.empty()) {
    return absl::InvalidArgumentError("vault: expected at least one word to search for");
  }
  ASSIGN_OR_RETURN(auto index, Database::Open(":memory:", {}));
  RETURN_IF_ERROR(index->Execute(
      "CREATE VIRTUAL TABLE passages USING fts5(text, tokenize = 'porter unicode61')"));
  ASSIGN_OR_RETURN(auto insert, index->Prepare("INSERT INTO passages(rowid, text) VALUES(?, ?)"));
  std::map<int64_t, VaultRecord> found;
  ASSIGN_OR_RETURN(auto records, database_->Prepare("SELECT id, source, sealed FROM records"));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, records.Step());
    if (!more) break;
    const auto source = sources_.find(records.Int(1));
    if (source == sources_.end()) continue;
    if (purpose && !source->second.consent.Allows(*purpose)) continue;
    ASSIGN_OR_RETURN(const Opened opened,
                     OpenRecord(records.Int(0), records.Int(1), records.Blob(2)));
    found[records.Int(0)] = {records.Int(0), source->second.name, opened.added,
                             opened.text.size_bytes()};
    RETURN_IF_ERROR(insert.Bind(1, records.Int(0))
                        .BindText(2, opened.text.Open(TextAccess("index in memory")))
                        .Run());
  }
  ASSIGN_OR_RETURN(auto match, index->Prepare("SELECT rowid, -bm25(passages) FROM passages "
                                              "WHERE passages MATCH ? ORDER BY 2 DESC, 1 LIMIT ?"));
  match.BindText(1, expression).Bind(2, int64_t{limit});
  std::vector<SearchHit> hits;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, match.Step());
    if (!more) return hits;
    ASSIGN_OR_RETURN(PrivateText passage, Read(match.Int(0)));
    hits.push_back({found[match.Int(0)], match.Double(1), std::move(passage)});
  }
}

}  // namespace lorikeet
