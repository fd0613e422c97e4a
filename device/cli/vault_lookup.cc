#include "device/cli/vault_lookup.h"

#include <string>
#include <vector>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// About a million tokens: a second of work and 16 MiB of index.
constexpr size_t kMostBytes = size_t{4} << 20;

}  // namespace

absl::StatusOr<LookupIndex> IndexVault(const Vault& vault, const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const std::vector<PrivateText> documents, vault.Documents(Purpose::kRetrieve));
  size_t first = documents.size();
  for (size_t bytes = 0; first > 0; --first) {
    bytes += documents[first - 1].size_bytes();
    if (bytes > kMostBytes) break;
  }
  const TextAccess access("lookup: n-grams of the owner's texts, for the owner's own generation");
  LookupIndex index;
  for (size_t i = first; i < documents.size(); ++i) {
    index.Append(tokenizer.Encode(documents[i].Open(access), {}));
    index.EndText();
  }
  return index;
}

}  // namespace lorikeet
