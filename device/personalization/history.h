// What was done to a personal adapter, and the way back: the directory <out>.history/ beside it.
//
//   history.json    what happened, newest last (format: history_json.h), mode 0600
//   NNN.gguf        the adapter that entry NNN put into use; of the newest kKeptVersions, mode 0600
//   lock            held by whoever changes something
// No word of the owner's text is in it: numbers, names of files and personas, ids of vault records.
//
// A change is written in this order: NNN.gguf, history.json ("unsettled"), the adapter file itself,
// history.json ("settled").  Killed before the second step, nothing has happened; after it, the
// next Open finishes the change.  So the adapter file is always a whole version, old or new.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_HISTORY_H_
#define LORIKEET_DEVICE_PERSONALIZATION_HISTORY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/file_lock.h"
#include "device/personalization/personal_adapter.h"

namespace lorikeet {

// The kinds of entries.
namespace history_kind {
inline constexpr std::string_view kPersonalized = "personalized";  // from a persona, all text
inline constexpr std::string_view kIncremental = "incremental";    // went on from the last adapter
inline constexpr std::string_view kRebased = "rebased";            // for another base model
inline constexpr std::string_view kRebuilt = "rebuilt";            // without forgotten records
inline constexpr std::string_view kRolledBack = "rolled-back";     // by the owner
inline constexpr std::string_view kForgotten = "forgotten";  // taken out of use: forgotten records
inline constexpr std::string_view kFound = "found";          // was there, made by something else
inline constexpr std::string_view kRemoved = "removed";      // the file was deleted by hand
}  // namespace history_kind

// Of the judge's text, nats a token; absent: not measured.
struct HistoryLosses {
  std::optional<double> base;
  std::optional<double> persona;
  std::optional<double> personalized;  // the adapter that was trained, kept or not
  std::optional<double> in_use;        // what served before
  int64_t tokens = 0;
  int64_t bytes = 0;  // of the judge's text; 0: not counted
};

struct HistoryEntry {
  int number = 0;  // 1, 2, ...; never used again
  absl::Time time;
  std::string kind;     // history_kind
  std::string outcome;  // "kept", "persona", "rolled back"; empty where nothing was judged
  std::string verdict;  // in words
  // Which entry's version served before and serves after this one; 0: the bare base.
  int before = 0;
  int in_use = 0;
  std::string adapter_file;  // name in the directory; empty: no version, or it is not kept any more
  std::string adapter_hash;  // BLAKE2b-256 of it, hex; empty: this entry made no version
  // What it was made from.  Paths are absolute.
  std::string model_path, base_fingerprint;
  std::string catalog_path, catalog_hash;
  std::string persona;    // id, "blend", "base"
  std::string vault_dir;  // empty: the text came from a file
  // Ids of the vault's records that shaped the version, those of its ancestors included; ascending.
  std::vector<int64_t> records;
  int residual_rank = 0;
  HistoryLosses losses;
  double cpu_seconds = 0, seconds = 0;
  double joules = 0;  // 0: not measured
};

// What PurgeRecords did.
struct PurgedVersions {
  std::vector<int> versions;  // numbers of the entries whose version was deleted
  bool was_in_use = false;    // one of them served: now the bare base does, and the file is gone
};

// Movable; not thread-safe.  Holds the lock as long as it lives.
class History {
 public:
  static constexpr int kKeptVersions = 5;
  static constexpr int kKeptEntries = 200;

  // Makes the directory if need be, finishes a change that was interrupted, and takes note of an
  // adapter file that something else made (kFound) or deleted (kRemoved).  `clock` must outlive it.
  // ALREADY_EXISTS: another process changes this adapter.  DATA_LOSS: history.json is damaged or of
  // a newer program.  INVALID_ARGUMENT: the file at `out_path` is no adapter.
  static absl::StatusOr<History> Open(const std::string& out_path, const Clock* clock);
  // Only looks; no lock.  Empty if there is no history.
  static absl::StatusOr<std::vector<HistoryEntry>> Read(const std::string& out_path);
  static bool Exists(const std::string& out_path);

  // Oldest first.
  const std::vector<HistoryEntry>& entries() const { return entries_; }
  // The entry whose version serves; null: the bare base does.
  const HistoryEntry* Current() const;
  // NOT_FOUND: its version is not kept (any more).  DATA_LOSS: the version is not what was written.
  absl::StatusOr<PersonalAdapter> Load(const HistoryEntry& entry) const;

  // Adds an entry; number, time, before, in_use and adapter_* are filled in here.  With an adapter
  // that adapter serves from now on, without what served before goes on serving.
  absl::Status Append(HistoryEntry entry, const std::optional<PersonalAdapter>& adapter);
  // The same, but from now on the bare base serves: the adapter file is removed.
  absl::Status AppendBareBase(HistoryEntry entry);
  // Back to what served before the last change; after a RollBack that is forward again.  `to`: to
  // the version of that entry (0: to the bare base).  Adds an entry.
  // FAILED_PRECONDITION: nothing to go back to, that version serves already or is not kept.
  absl::Status RollBack(std::optional<int> to = std::nullopt);
  // Deletes every version that one of `records` shaped, and those of kind kFound, of which nobody
  // knows.  A version in use goes too (kForgotten): append the rebuilt one before.  Records of
  // other vaults with the same ids count as well: better one version too many.
  absl::StatusOr<PurgedVersions> PurgeRecords(const std::vector<int64_t>& records);

  const std::string& out_path() const { return out_path_; }

 private:
  History(std::string out_path, const Clock* clock, std::unique_ptr<FileLock> lock)
      : out_path_(std::move(out_path)), clock_(clock), lock_(std::move(lock)) {}
  std::string FileOf(std::string_view name) const;
  int NumberInUse() const { return entries_.empty() ? 0 : entries_.back().in_use; }
  const HistoryEntry* Find(int number) const;
  absl::StatusOr<std::string> VersionBytes(const HistoryEntry& entry) const;
  // Open's three chores.
  absl::Status FinishChange();
  absl::Status TakeNote();
  absl::Status RemoveLeftovers() const;
  // Writes `entry` as the newest, with the version `bytes` unless empty, in the order above.
  absl::Status Commit(HistoryEntry entry, std::string_view bytes);
  void DropOldVersions();
  absl::Status WriteJson(bool settled) const;
  absl::Status ApplyToFile() const;

  std::string out_path_;
  const Clock* clock_;
  std::unique_ptr<FileLock> lock_;
  std::vector<HistoryEntry> entries_;
  bool settled_ = true;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_HISTORY_H_
