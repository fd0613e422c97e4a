// Release bytes by content hash: a directory, or memory for simulations.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_BLOB_STORE_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_BLOB_STORE_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/wire/federation.h"

namespace lorikeet {

class BlobStore {
 public:
  virtual ~BlobStore() = default;
  // Durable when it returns.  Storing the same bytes again is OK.
  virtual absl::StatusOr<Hash256> Put(std::string_view bytes) = 0;
  virtual absl::StatusOr<std::string> Get(const Hash256& hash) = 0;
  // A range, cut at the end of the blob.  NOT_FOUND; OUT_OF_RANGE: offset past the end.
  virtual absl::StatusOr<ChunkResult> Read(const ChunkQuery& query) = 0;
};

// One file a blob, named by its hash.  Thread-safe.
class DirectoryBlobStore final : public BlobStore {
 public:
  static absl::StatusOr<std::unique_ptr<DirectoryBlobStore>> Open(const std::string& directory);
  absl::StatusOr<Hash256> Put(std::string_view bytes) override;
  absl::StatusOr<std::string> Get(const Hash256& hash) override;
  absl::StatusOr<ChunkResult> Read(const ChunkQuery& query) override;

 private:
  explicit DirectoryBlobStore(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(const Hash256& hash) const;
  absl::StatusOr<std::shared_ptr<const MappedFile>> Map(const Hash256& hash);

  std::string directory_;
  absl::Mutex mutex_;
  std::map<Hash256, std::shared_ptr<const MappedFile>> mapped_ ABSL_GUARDED_BY(mutex_);
};

// Not thread-safe.
class MemoryBlobStore final : public BlobStore {
 public:
  absl::StatusOr<Hash256> Put(std::string_view bytes) override;
  absl::StatusOr<std::string> Get(const Hash256& hash) override;
  absl::StatusOr<ChunkResult> Read(const ChunkQuery& query) override;

 private:
  std::map<Hash256, std::string> blobs_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_BLOB_STORE_H_
