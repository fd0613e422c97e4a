// The vault: the owner's private text, sealed record by record in one SQLite file.
//
// DIR/vault.db:
//   meta(key, value)      "format" = "lorikeet-vault-1"; "id" = 16 random bytes; "derivation"
//   (vault_keys.h);
//                         "data_key" = data key sealed under the key-encryption key, associated
//                         data "data-key" | id; "census" = sealed (record count, XOR of all record
//                         tags), associated data "census" | id; "adapters" and "unsettled" =
//                         sealed JSON, see vault_forget.cc; "compact" = 1: deleted, not yet
//                         compacted
//   sources(id, sealed)   sealed name and consent, associated data "source" | vault id | source id
//   records(id, source, tag, sealed)
//                         tag = keyed BLAKE2b-256 of source and text: finds repeats, means nothing
//                         without the key sealed = added-at (8 bytes, ms) | length (8) | text |
//                         zeros to a multiple of 64, associated data "record" | vault id | record
//                         id | source id
// The census notices rows that were removed or put back by something other than the vault.  Sizes
// (rounded up to 64), the number of records and their order are visible to whoever steals the file;
// no word of text is.
#ifndef LORIKEET_DEVICE_VAULT_VAULT_H_
#define LORIKEET_DEVICE_VAULT_VAULT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/sqlite/database.h"
#include "device/policy/consent.h"
#include "device/vault/private_text.h"
#include "device/vault/vault_keys.h"

namespace lorikeet {

struct VaultRecord {
  int64_t id = 0;
  std::string source;
  absl::Time added;
  size_t size_bytes = 0;
};

struct VaultSource {
  std::string name;
  SourceConsent consent;
  int64_t record_count = 0;
};

// A record's text with what a trainer must know about it.
struct VaultDocument {
  int64_t id = 0;
  absl::Time added;
  // In [0, 1), drawn by the vault's key from source and text alone: it never changes, whatever
  // comes and goes around the record.  To hold records out below a bound is to hold out the same
  // ones for ever.
  double lot = 0;
  PrivateText text;
};

// An adapter that was trained on this vault's text, so that forgetting can reach it.
struct VaultAdapter {
  std::string path;  // absolute
  std::string model = {};
  std::string catalog = {};
  std::string catalog_key = {};  // file of the key that must have signed it; empty: any catalog
  int residual_rank = 0;
  bool rebuild = false;  // forgetting deleted it, and it waits to be made again
};

struct SearchHit {
  VaultRecord record;
  double score = 0;     // BM25, higher is better
  PrivateText passage;  // the record's text
};

struct VaultVerification {
  int64_t records = 0;
  int64_t bytes = 0;  // of text
};

// Not thread-safe.  Several processes may open one vault.
class Vault {
 public:
  struct Options {
    std::string dir;
    bool create = false;  // make the vault if there is none
  };
  // Opens, and deletes records past their retention limit.
  // NOT_FOUND: no vault there.  PERMISSION_DENIED: wrong passphrase or key.  DATA_LOSS: damaged.
  static absl::StatusOr<std::unique_ptr<Vault>> Open(const Options& options,
                                                     const VaultSecret& secret, const Clock* clock,
                                                     RandomSource* random);

  // Seals one text; its id.  The same text of the same source is stored once (its first id is
  // returned). INVALID_ARGUMENT: empty, not UTF-8 (the byte position is named), over 16 MiB, or a
  // bad source name.
  absl::StatusOr<int64_t> Add(std::string_view source, const PrivateText& text);

  absl::StatusOr<std::vector<VaultRecord>> List() const;
  // NOT_FOUND; DATA_LOSS if the record was altered.
  absl::StatusOr<PrivateText> Read(int64_t id) const;
  // All records whose source allows `purpose`, oldest first; and their texts alone.
  absl::StatusOr<std::vector<VaultDocument>> Records(Purpose purpose) const;
  absl::StatusOr<std::vector<PrivateText>> Documents(Purpose purpose) const;
  // Best passages for the words of `query` among sources that allow `purpose`; nullopt: among all,
  // for the owner's own eyes.
  absl::StatusOr<std::vector<SearchHit>> Search(std::string_view query, int limit,
                                                std::optional<Purpose> purpose) const;

  // Deletes records, overwrites their pages and compacts the file: nothing of them remains in it or
  // its journal.  What the storage below keeps of overwritten blocks is out of reach.  If the
  // program ends in between, the next Open compacts.
  // NOT_FOUND names the first unknown id; then nothing was deleted.  UNAVAILABLE: deleted, but
  // somebody is reading the vault, and sealed copies stay in the journal until a later Open.
  absl::Status Forget(const std::vector<int64_t>& ids);

  // Adapters trained on this vault's text.  Remember one before its training starts; a second one
  // of the same path replaces the first.
  absl::Status RememberAdapter(const VaultAdapter& adapter);
  absl::Status DropAdapter(const std::string& path);
  absl::StatusOr<std::vector<VaultAdapter>> Adapters() const;
  // Records that were forgotten or have expired, and that adapters may still know: ascending.
  absl::StatusOr<std::vector<int64_t>> Unsettled() const;
  // No adapter knows these any more.
  absl::Status Settle(const std::vector<int64_t>& ids);

  absl::StatusOr<std::vector<VaultSource>> Sources() const;
  absl::Status SetConsent(std::string_view source, const SourceConsent& consent);

  // Opens every record and checks the census.  DATA_LOSS names what does not fit.
  absl::StatusOr<VaultVerification> Verify() const;

 private:
  struct Source {
    std::string name;
    SourceConsent consent;
  };
  struct Opened {
    absl::Time added;
    PrivateText text;
  };
  struct Census {
    int64_t count = 0;
    Hash256 tags = {};
  };

  Vault(std::unique_ptr<Database> database, const Clock* clock, RandomSource* random)
      : database_(std::move(database)), clock_(clock), random_(random) {}
  absl::Status CreateHeader(const VaultSecret& secret);
  absl::Status OpenHeader(const VaultSecret& secret);
  absl::StatusOr<std::string> Meta(std::string_view key) const;
  absl::Status SetMeta(std::string_view key, std::string_view value);
  // Sealed rows that a vault may lack; empty then.
  absl::StatusOr<std::string> SealedMeta(std::string_view key) const;
  absl::Status SetSealedMeta(std::string_view key, std::string_view value);
  absl::Status LoadSources();
  absl::Status ApplyRetention();
  absl::StatusOr<int64_t> SourceId(std::string_view name);
  absl::Status WriteSource(int64_t id, const Source& source, bool insert);
  std::string Associated(std::string_view what, int64_t id, int64_t source_id) const;
  Hash256 TagOf(int64_t source_id, std::string_view text) const;
  absl::StatusOr<Opened> OpenRecord(int64_t id, int64_t source_id,
                                    std::span<const uint8_t> sealed) const;
  absl::StatusOr<Census> ReadCensus() const;
  absl::Status WriteCensus(const Census& census);
  absl::Status InsertRecord(int64_t source_id, std::string_view text, const Hash256& tag,
                            int64_t* id);
  absl::Status DeleteRecords(const std::vector<int64_t>& ids);
  absl::Status ChangeAdapters(const std::string& path, const VaultAdapter* adapter);
  absl::Status AddUnsettled(const std::vector<int64_t>& ids);
  absl::Status Compact();
  absl::Status EmptyJournal();
  absl::StatusOr<bool> NeedsCompacting() const;

  std::unique_ptr<Database> database_;
  const Clock* clock_;
  RandomSource* random_;
  std::string id_;
  SecretBytes data_key_;
  std::map<int64_t, Source> sources_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_VAULT_VAULT_H_
