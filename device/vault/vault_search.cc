// Vault::Search: full-text search over an index that lives in memory only.
#include <utility>

#include "common/base/status_macros.h"
#include "device/vault/text_index.h"
#include "device/vault/vault.h"

namespace lorikeet {

absl::StatusOr<std::vector<SearchHit>> Vault::Search(std::string_view query, int limit,
                                                     std::optional<Purpose> purpose) const {
  if (QueryWords(query).empty()) {
    return absl::InvalidArgumentError("vault: expected at least one word to search for");
  }
  ASSIGN_OR_RETURN(const auto index, TextIndex::Create());
  std::map<int64_t, VaultRecord> found;
  {
    ASSIGN_OR_RETURN(Transaction transaction, index->Begin());
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
      RETURN_IF_ERROR(index->Add(records.Int(0), opened.text.Open(TextAccess("index in memory"))));
    }
    RETURN_IF_ERROR(transaction.Commit());
  }
  ASSIGN_OR_RETURN(const std::vector<TextMatch> matches, index->Search(query, limit));
  std::vector<SearchHit> hits;
  for (const TextMatch& match : matches) {
    ASSIGN_OR_RETURN(PrivateText passage, Read(match.id));
    hits.push_back({found[match.id], match.score, std::move(passage)});
  }
  return hits;
}

}  // namespace lorikeet
