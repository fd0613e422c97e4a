#include "device/personalization/history.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/history_json.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kOwnerOnly = 0600;
constexpr uint64_t kMaxJsonBytes = uint64_t{64} << 20;

std::string DirectoryOf(const std::string& out_path) { return out_path + ".history"; }

std::string HashOf(std::string_view bytes) { return ToHex(Blake2b(AsBytes(bytes))); }

absl::Status MakePrivateDirectory(const std::string& dir) {
  RETURN_IF_ERROR(MakeDirs(dir));
  std::error_code error;
  fs::permissions(dir, fs::perms::owner_all, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot make ", dir, " the owner's only: ", error.message()));
}

absl::Status RemoveFile(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot remove ", path, ": ", error.message()));
}

absl::StatusOr<HistoryFile> ReadHistoryFile(const std::string& out_path) {
  const std::string path = DirectoryOf(out_path) + "/history.json";
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxJsonBytes);
  if (absl::IsNotFound(text.status())) return HistoryFile{};
  if (!text.ok()) return text.status();
  absl::StatusOr<HistoryFile> file = ParseHistory(*text);
  if (!file.ok()) return Annotate(file.status(), path);
  return file;
}

HistoryEntry EntryOf(std::string_view kind, std::string verdict) {
  HistoryEntry entry;
  entry.kind = kind;
  entry.verdict = std::move(verdict);
  return entry;
}

bool Intersect(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  return std::ranges::any_of(a, [&](int64_t id) { return std::ranges::find(b, id) != b.end(); });
}

}  // namespace

absl::StatusOr<History> History::Open(const std::string& out_path, const Clock* clock) {
  std::error_code error;
  if (fs::exists(out_path, error) && !fs::is_regular_file(out_path, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(out_path, ": expected a file for the personal adapter, got something else"));
  }
  const std::string dir = DirectoryOf(out_path);
  RETURN_IF_ERROR(MakePrivateDirectory(dir));
  ASSIGN_OR_RETURN(auto lock, FileLock::Acquire(dir + "/lock"));
  ASSIGN_OR_RETURN(HistoryFile file, ReadHistoryFile(out_path));
  History history(out_path, clock, std::move(lock));
  history.entries_ = std::move(file.entries);
  history.settled_ = file.settled;
  RETURN_IF_ERROR(history.FinishChange());
  RETURN_IF_ERROR(history.RemoveLeftovers());
  RETURN_IF_ERROR(history.TakeNote());
  return history;
}

absl::StatusOr<std::vector<HistoryEntry>> History::Read(const std::string& out_path) {
  ASSIGN_OR_RETURN(HistoryFile file, ReadHistoryFile(out_path));
  return std::move(file.entries);
}

bool History::Exists(const std::string& out_path) {
  return FileExists(DirectoryOf(out_path) + "/history.json");
}

std::string History::FileOf(std::string_view name) const {
  return absl::StrCat(DirectoryOf(out_path_), "/", ToAbsl(name));
}

const HistoryEntry* History::Find(int number) const {
  const auto found = std::ranges::find(entries_, number, &HistoryEntry::number);
  return found != entries_.end() ? &*found : nullptr;
}

const HistoryEntry* History::Current() const { return Find(NumberInUse()); }

absl::StatusOr<std::string> History::VersionBytes(const HistoryEntry& entry) const {
  if (entry.adapter_file.empty()) {
    return absl::NotFoundError(absl::StrCat("version ", entry.number, " of ", out_path_,
                                            " is not kept (the newest ", kKeptVersions, " are)"));
  }
  const std::string path = FileOf(entry.adapter_file);
  ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  if (HashOf(bytes) != entry.adapter_hash) {
    return absl::DataLossError(
        absl::StrCat(path, ": expected the version that was written there, got other bytes"));
  }
  return bytes;
}

absl::StatusOr<PersonalAdapter> History::Load(const HistoryEntry& entry) const {
  RETURN_IF_ERROR(VersionBytes(entry).status());
  return PersonalAdapter::Load(FileOf(entry.adapter_file));
}

absl::Status History::WriteJson(bool settled) const {
  return WriteFileAtomic(FileOf("history.json"),
                         SerializeHistory({.settled = settled, .entries = entries_}), kOwnerOnly);
}

absl::Status History::ApplyToFile() const {
  const HistoryEntry* current = Current();
  if (current == nullptr) return RemoveFile(out_path_);
  ASSIGN_OR_RETURN(const std::string bytes, VersionBytes(*current));
  return WriteFileAtomic(out_path_, bytes, kOwnerOnly);
}

absl::Status History::FinishChange() {
  if (settled_) return absl::OkStatus();
  RETURN_IF_ERROR(ApplyToFile());
  settled_ = true;
  return WriteJson(true);
}

absl::Status History::RemoveLeftovers() const {
  const fs::path out = fs::absolute(out_path_);
  std::error_code error;
  for (const fs::path& dir : {fs::path(DirectoryOf(out.string())), out.parent_path()}) {
    const bool own = dir != out.parent_path();
    for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      const bool temporary = own ? name.find(".tmp.") != std::string::npos
                                 : name.starts_with(out.filename().string() + ".tmp.");
      const bool stray =
          own && name.ends_with(".gguf") &&
          std::ranges::find(entries_, name, &HistoryEntry::adapter_file) == entries_.end();
      if (temporary || stray) RETURN_IF_ERROR(RemoveFile(it->path().string()));
    }
  }
  return absl::OkStatus();
}

absl::Status History::TakeNote() {
  const HistoryEntry* current = Current();
  const absl::StatusOr<std::string> bytes = ReadFile(out_path_);
  if (absl::IsNotFound(bytes.status())) {
    if (current == nullptr) return absl::OkStatus();
    return AppendBareBase(
        EntryOf(history_kind::kRemoved, absl::StrCat(out_path_, " was deleted by something else")));
  }
  if (!bytes.ok()) return bytes.status();
  if (current != nullptr && HashOf(*bytes) == current->adapter_hash) return absl::OkStatus();
  ASSIGN_OR_RETURN(const PersonalAdapter found, PersonalAdapter::Load(out_path_));
  const AdapterInfo& info = found.adapter().info;
  HistoryEntry entry =
      EntryOf(history_kind::kFound, absl::StrCat(out_path_, " was written by something else"));
  entry.base_fingerprint = info.base_fingerprint;
  entry.persona = info.persona_id;
  entry.residual_rank = found.ResidualRank();
  return Commit(std::move(entry), *bytes);
}

void History::DropOldVersions() {
  // What serves and what one RollBack returns to are never dropped.
  const int in_use = NumberInUse();
  const auto change = std::find_if(entries_.rbegin(), entries_.rend(),
                                   [](const HistoryEntry& e) { return e.before != e.in_use; });
  const int before = change != entries_.rend() ? change->before : 0;
  auto count =
      std::ranges::count_if(entries_, [](const auto& e) { return !e.adapter_file.empty(); });
  for (HistoryEntry& entry : entries_) {
    if (count <= kKeptVersions) break;
    if (entry.adapter_file.empty() || entry.number == in_use || entry.number == before) continue;
    entry.adapter_file.clear();
    --count;
  }
  for (auto it = entries_.begin(); entries_.size() > kKeptEntries && it != entries_.end();) {
    it = it->adapter_file.empty() ? entries_.erase(it) : it + 1;
  }
}

absl::Status History::Commit(HistoryEntry entry, std::string_view bytes) {
  const std::vector<HistoryEntry> entries_before = entries_;
  entry.number = entries_.empty() ? 1 : entries_.back().number + 1;
  entry.time = clock_->Now();
  entry.before = NumberInUse();
  if (!bytes.empty()) {
    entry.in_use = entry.number;
    entry.adapter_file = absl::StrFormat("%03d.gguf", entry.number);
    entry.adapter_hash = HashOf(bytes);
    RETURN_IF_ERROR(WriteFileAtomic(FileOf(entry.adapter_file), bytes, kOwnerOnly));
  }
  const bool changes = entry.in_use != entry.before;
  entries_.push_back(std::move(entry));
  DropOldVersions();
  if (absl::Status written = WriteJson(!changes); !written.ok()) {
    entries_ = entries_before;
    return written;
  }
  if (changes) {
    settled_ = false;
    RETURN_IF_ERROR(FinishChange());
  }
  return RemoveLeftovers();
}

absl::Status History::Append(HistoryEntry entry, const std::optional<PersonalAdapter>& adapter) {
  entry.in_use = NumberInUse();
  entry.adapter_file.clear();
  entry.adapter_hash.clear();
  return Commit(std::move(entry), adapter ? SerializeAdapter(adapter->adapter()) : std::string());
}

absl::Status History::AppendBareBase(HistoryEntry entry) {
  entry.in_use = 0;
  entry.adapter_file.clear();
  entry.adapter_hash.clear();
  return Commit(std::move(entry), {});
}

absl::Status History::RollBack(std::optional<int> to) {
  if (!to) {
    const auto change = std::find_if(entries_.rbegin(), entries_.rend(), [](const auto& entry) {
      return entry.before != entry.in_use;
    });
    if (change == entries_.rend()) {
      return absl::FailedPreconditionError(
          absl::StrCat(out_path_, ": nothing to roll back: nothing was ever put into use"));
    }
    to = change->before;
  }
  if (*to == NumberInUse()) {
    return absl::FailedPreconditionError(
        absl::StrCat(out_path_, ": ", *to == 0 ? "the bare base" : absl::StrCat("version ", *to),
                     " is in use already"));
  }
  HistoryEntry entry;
  if (*to != 0) {
    const HistoryEntry* target = Find(*to);
    if (target == nullptr || target->adapter_file.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat(out_path_, ": version ", *to, " is not kept: only the newest ",
                       kKeptVersions, " are, and none that a forgotten record shaped"));
    }
    RETURN_IF_ERROR(VersionBytes(*target).status());
    entry = *target;  // what it was made from; not what it cost
    entry.losses = {};
    entry.seconds = entry.cpu_seconds = entry.joules = 0;
    entry.adapter_file.clear();
    entry.adapter_hash.clear();
  }
  entry.kind = history_kind::kRolledBack;
  entry.outcome.clear();
  entry.verdict =
      absl::StrCat("rolled back by the owner from ",
                   NumberInUse() == 0 ? "the bare base" : absl::StrCat("version ", NumberInUse()),
                   " to ", *to == 0 ? "the bare base" : absl::StrCat("version ", *to));
  entry.in_use = *to;
  return Commit(std::move(entry), {});
}

absl::StatusOr<PurgedVersions> History::PurgeRecords(const std::vector<int64_t>& records) {
  PurgedVersions purged;
  const int in_use = NumberInUse();
  for (HistoryEntry& entry : entries_) {
    if (entry.adapter_file.empty()) continue;
    if (entry.kind != history_kind::kFound && !Intersect(entry.records, records)) continue;
    entry.adapter_file.clear();
    purged.versions.push_back(entry.number);
    purged.was_in_use |= entry.number == in_use;
  }
  if (purged.versions.empty()) return purged;
  if (purged.was_in_use) {
    RETURN_IF_ERROR(AppendBareBase(EntryOf(
        history_kind::kForgotten, "records that shaped the version in use were forgotten")));
    return purged;
  }
  RETURN_IF_ERROR(WriteJson(true));
  RETURN_IF_ERROR(RemoveLeftovers());
  return purged;
}

}  // namespace lorikeet
