#include "coordinator/distribution/blob_store.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/atomic_file.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/limits.h"

namespace lorikeet {

absl::Status NoSuchBlob(const Hash256& hash) {
  return absl::NotFoundError(absl::StrCat("no released file has the hash ", ToHex(hash)));
}

absl::Status CheckRange(const ChunkQuery& query, uint64_t blob_bytes) {
  if (query.offset <= blob_bytes) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrFormat("chunk: expected an offset up to %d, got %d", blob_bytes, query.offset));
}

absl::Status CopyBlob(BlobStore* blobs, const Hash256& hash, const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path));
  Hasher hasher;
  uint64_t offset = 0, bytes = 0;
  do {
    ASSIGN_OR_RETURN(const ChunkResult piece,
                     blobs->Read({.file_hash = hash, .offset = offset, .length = kMaxFetchBytes}));
    bytes = piece.file_bytes;
    if (piece.data.empty() && offset < bytes) {
      return absl::DataLossError(
          absl::StrFormat("%s: expected %d bytes, got %d", ToHex(hash), bytes, offset));
    }
    hasher.Update(piece.data);
    RETURN_IF_ERROR(file->Append(piece.data));
    offset += piece.data.size();
  } while (offset < bytes);
  if (const Hash256 got = hasher.Finish(); got != hash) {
    return absl::DataLossError(
        absl::StrCat("expected a blob with the hash ", ToHex(hash), ", got ", ToHex(got)));
  }
  return file->Commit();
}

absl::StatusOr<Hash256> MemoryBlobStore::Put(std::string_view bytes) {
  const Hash256 hash = Blake2b(AsBytes(bytes));
  blobs_.try_emplace(hash, bytes);
  return hash;
}

absl::StatusOr<Hash256> MemoryBlobStore::PutFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  return Put(bytes);
}

absl::StatusOr<std::string> MemoryBlobStore::Get(const Hash256& hash) {
  const auto it = blobs_.find(hash);
  if (it == blobs_.end()) return NoSuchBlob(hash);
  return it->second;
}

absl::StatusOr<ChunkResult> MemoryBlobStore::Read(const ChunkQuery& query) {
  const auto it = blobs_.find(query.file_hash);
  if (it == blobs_.end()) return NoSuchBlob(query.file_hash);
  RETURN_IF_ERROR(CheckRange(query, it->second.size()));
  ChunkResult result;
  result.data = it->second.substr(query.offset, query.length);
  result.file_bytes = it->second.size();
  return result;
}

}  // namespace lorikeet
