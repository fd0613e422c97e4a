// Release bytes by content hash: what every store of them does, and one in memory for simulations.
// In a directory: directory_blob_store.h; in a bucket: s3_blob_store.h.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_BLOB_STORE_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_BLOB_STORE_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/wire/federation.h"

namespace lorikeet {

class BlobStore {
 public:
  virtual ~BlobStore() = default;
  // Durable when it returns.  Storing the same bytes again is OK.
  virtual absl::StatusOr<Hash256> Put(std::string_view bytes) = 0;
  // The same of a file, which is not read into memory.
  virtual absl::StatusOr<Hash256> PutFile(const std::string& path) = 0;
  // All of a small blob.
  virtual absl::StatusOr<std::string> Get(const Hash256& hash) = 0;
  // A range, cut at the end of the blob.  NOT_FOUND; OUT_OF_RANGE: offset past the end.
  virtual absl::StatusOr<ChunkResult> Read(const ChunkQuery& query) = 0;
  // Where the blob lies as a file on this machine, if it does.
  virtual std::optional<std::string> LocalPath(const Hash256& hash) const = 0;
};

// NOT_FOUND that names the hash.
absl::Status NoSuchBlob(const Hash256& hash);
// OUT_OF_RANGE for a query behind the end.
absl::Status CheckRange(const ChunkQuery& query, uint64_t blob_bytes);

// The blob as a file, piece by piece.  DATA_LOSS: what the store gave has another hash.
absl::Status CopyBlob(BlobStore* blobs, const Hash256& hash, const std::string& path);

// Not thread-safe.
class MemoryBlobStore final : public BlobStore {
 public:
  absl::StatusOr<Hash256> Put(std::string_view bytes) override;
  absl::StatusOr<Hash256> PutFile(const std::string& path) override;
  absl::StatusOr<std::string> Get(const Hash256& hash) override;
  absl::StatusOr<ChunkResult> Read(const ChunkQuery& query) override;
  std::optional<std::string> LocalPath(const Hash256&) const override { return std::nullopt; }

 private:
  std::map<Hash256, std::string> blobs_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_BLOB_STORE_H_
