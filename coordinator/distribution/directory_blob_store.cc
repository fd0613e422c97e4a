#include "coordinator/distribution/directory_blob_store.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/atomic_file.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// A bound on open files: releases are few, and opening one again is cheap.
constexpr size_t kMostOpen = 64;
constexpr uint64_t kCopyBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<DirectoryBlobStore>> DirectoryBlobStore::Open(
    const std::string& directory) {
  RETURN_IF_ERROR(MakeDirs(directory));
  return std::unique_ptr<DirectoryBlobStore>(new DirectoryBlobStore(directory));
}

std::string DirectoryBlobStore::PathOf(const Hash256& hash) const {
  return absl::StrCat(directory_, "/", ToHex(hash));
}

std::optional<std::string> DirectoryBlobStore::LocalPath(const Hash256& hash) const {
  std::string path = PathOf(hash);
  if (!FileExists(path)) return std::nullopt;
  return path;
}

absl::StatusOr<Hash256> DirectoryBlobStore::Put(std::string_view bytes) {
  const Hash256 hash = Blake2b(AsBytes(bytes));
  const std::string path = PathOf(hash);
  // Written atomically: a file of this name is complete.
  if (!FileExists(path)) RETURN_IF_ERROR(WriteFileAtomic(path, bytes));
  return hash;
}

absl::StatusOr<Hash256> DirectoryBlobStore::PutFile(const std::string& path) {
  ASSIGN_OR_RETURN(const auto source, FileSource::Open(path));
  ASSIGN_OR_RETURN(const Hash256 hash, HashOf(*source));
  if (FileExists(PathOf(hash))) return hash;
  ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(PathOf(hash)));
  Hasher copied;
  std::vector<uint8_t> window;
  for (uint64_t offset = 0; offset < source->size(); offset += window.size()) {
    window.resize(std::min(kCopyBytes, source->size() - offset));
    RETURN_IF_ERROR(source->Read(offset, window));
    copied.Update(window);
    RETURN_IF_ERROR(file->Append(AsChars(window)));
  }
  if (copied.Finish() != hash) {
    return absl::DataLossError(absl::StrCat(path, " changed while it was copied"));
  }
  RETURN_IF_ERROR(file->Commit());
  return hash;
}

absl::StatusOr<std::shared_ptr<const FileSource>> DirectoryBlobStore::Find(const Hash256& hash) {
  absl::MutexLock lock(&mutex_);
  const auto it = open_.find(hash);
  if (it != open_.end()) return it->second;
  auto opened = FileSource::Open(PathOf(hash));
  if (absl::IsNotFound(opened.status())) return NoSuchBlob(hash);
  RETURN_IF_ERROR(opened.status());
  if (open_.size() >= kMostOpen) open_.clear();
  std::shared_ptr<const FileSource> shared = *std::move(opened);
  open_[hash] = shared;
  return shared;
}

absl::StatusOr<std::string> DirectoryBlobStore::Get(const Hash256& hash) {
  ASSIGN_OR_RETURN(const auto source, Find(hash));
  std::vector<uint8_t> bytes(source->size());
  RETURN_IF_ERROR(source->Read(0, bytes));
  return std::string(AsChars(bytes));
}

absl::StatusOr<ChunkResult> DirectoryBlobStore::Read(const ChunkQuery& query) {
  ASSIGN_OR_RETURN(const auto source, Find(query.file_hash));
  RETURN_IF_ERROR(CheckRange(query, source->size()));
  std::vector<uint8_t> bytes(std::min<uint64_t>(query.length, source->size() - query.offset));
  RETURN_IF_ERROR(source->Read(query.offset, bytes));
  ChunkResult result;
  result.data = AsChars(bytes);
  result.file_bytes = source->size();
  return result;
}

}  // namespace lorikeet
