// Passages of the owner's texts, and which of them have to do with a question.
//
// A record (a message, a note) is one passage, or is cut into several at paragraph, line or
// sentence ends.  Search is BM25 over device/vault/text_index.h.  The index and the texts live in
// memory only and are made once per process; nothing of them is on disk.  Not here: how many
// passages fit into a prompt and how they stand in it (passages.h).
#ifndef LORIKEET_DEVICE_RETRIEVAL_PASSAGE_INDEX_H_
#define LORIKEET_DEVICE_RETRIEVAL_PASSAGE_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/vault/private_text.h"
#include "device/vault/text_index.h"
#include "device/vault/vault.h"

namespace lorikeet {

struct PassageIndexOptions {
  size_t passage_bytes = 400;  // longest passage
  // Of texts; what is older than the newest so many bytes is left out.
  size_t most_bytes = size_t{16} << 20;
};

// A passage; `text` borrows from the index.
struct PassageHit {
  int64_t record = 0;
  double score = 0;  // BM25
  std::string_view text;
};

// Not thread-safe.
class PassageIndex {
 public:
  static absl::StatusOr<std::unique_ptr<PassageIndex>> Create(
      const PassageIndexOptions& options = {});
  // Of all records whose source allows retrieval.  Errors as Vault::Records.
  static absl::StatusOr<std::unique_ptr<PassageIndex>> OfVault(
      const Vault& vault, const PassageIndexOptions& options = {});

  absl::Status Add(int64_t record, PrivateText text);

  // Best first, at most `limit`, and no two that say the same: same words, or one inside another.
  // Passages that `query` itself contains are left out.  Empty: nothing fits.
  absl::StatusOr<std::vector<PassageHit>> Find(std::string_view query, int limit);

  size_t passage_count() const { return passages_.size(); }
  size_t text_bytes() const { return text_bytes_; }
  size_t left_out_bytes() const { return left_out_bytes_; }  // of texts too old

 private:
  struct Passage {
    int64_t record = 0;
    size_t text = 0;  // index in texts_
    size_t begin = 0;
    size_t size = 0;
  };
  PassageIndex(std::unique_ptr<TextIndex> index, const PassageIndexOptions& options)
      : options_(options), index_(std::move(index)) {}
  std::string_view TextOf(const Passage& passage) const;

  PassageIndexOptions options_;
  std::unique_ptr<TextIndex> index_;  // ids are positions in passages_
  std::vector<PrivateText> texts_;
  std::vector<Passage> passages_;
  size_t text_bytes_ = 0;
  size_t left_out_bytes_ = 0;
};

// Cuts at empty lines, joins short paragraphs, cuts long ones at line or sentence ends.  Views of
// `text`, at most `most_bytes` (16 or more) each, none blank.
std::vector<std::string_view> CutPassages(std::string_view text, size_t most_bytes);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RETRIEVAL_PASSAGE_INDEX_H_
