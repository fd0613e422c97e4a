#include "coordinator/distribution/blob_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

absl::Status NoSuchBlob(const Hash256& hash) {
  return absl::NotFoundError(absl::StrCat("no released file has the hash ", ToHex(hash)));
}

absl::StatusOr<ChunkResult> Slice(std::string_view blob, const ChunkQuery& query) {
  if (query.offset > blob.size()) {
    return absl::OutOfRangeError(
        absl::StrFormat("chunk: expected an offset up to %d, got %d", blob.size(), query.offset));
  }
  ChunkResult result;
  result.data = std::string(blob.substr(query.offset, query.length));
  result.file_bytes = blob.size();
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DirectoryBlobStore>> DirectoryBlobStore::Open(
    const std::string& directory) {
  RETURN_IF_ERROR(MakeDirs(directory));
  return std::unique_ptr<DirectoryBlobStore>(new DirectoryBlobStore(directory));
}

std::string DirectoryBlobStore::PathOf(const Hash256& hash) const {
  return absl::StrCat(directory_, "/", ToHex(hash));
}

absl::StatusOr<Hash256> DirectoryBlobStore::Put(std::string_view bytes) {
  const Hash256 hash = Blake2b(AsBytes(bytes));
  const std::string path = PathOf(hash);
  // Written atomically: a file of this name is complete.
  if (!FileExists(path)) RETURN_IF_ERROR(WriteFileAtomic(path, bytes));
  return hash;
}

absl::StatusOr<std::shared_ptr<const MappedFile>> DirectoryBlobStore::Map(const Hash256& hash) {
  absl::MutexLock lock(&mutex_);
  const auto it = mapped_.find(hash);
  if (it != mapped_.end()) return it->second;
  auto mapped = MappedFile::Open(PathOf(hash));
  if (absl::IsNotFound(mapped.status())) return NoSuchBlob(hash);
  RETURN_IF_ERROR(mapped.status());
  // A bound on open mappings: releases are few, and reopening one is cheap.
  if (mapped_.size() >= 64) mapped_.clear();
  std::shared_ptr<const MappedFile> shared = std::move(*mapped);
  mapped_[hash] = shared;
  return shared;
}

absl::StatusOr<std::string> DirectoryBlobStore::Get(const Hash256& hash) {
  ASSIGN_OR_RETURN(const auto mapped, Map(hash));
  return std::string(AsChars(mapped->bytes()));
}

absl::StatusOr<ChunkResult> DirectoryBlobStore::Read(const ChunkQuery& query) {
  ASSIGN_OR_RETURN(const auto mapped, Map(query.file_hash));
  return Slice(AsChars(mapped->bytes()), query);
}

absl::StatusOr<Hash256> MemoryBlobStore::Put(std::string_view bytes) {
  const Hash256 hash = Blake2b(AsBytes(bytes));
  blobs_.try_emplace(hash, bytes);
  return hash;
}

absl::StatusOr<std::string> MemoryBlobStore::Get(const Hash256& hash) {
  const auto it = blobs_.find(hash);
  if (it == blobs_.end()) return NoSuchBlob(hash);
  return it->second;
}

absl::StatusOr<ChunkResult> MemoryBlobStore::Read(const ChunkQuery& query) {
  const auto it = blobs_.find(query.file_hash);
  if (it == blobs_.end()) return NoSuchBlob(query.file_hash);
  return Slice(it->second, query);
}

}  // namespace lorikeet
