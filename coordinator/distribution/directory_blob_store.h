// Release bytes in a directory: one file a blob, named by its hash.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_DIRECTORY_BLOB_STORE_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_DIRECTORY_BLOB_STORE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/delta/byte_source.h"
#include "coordinator/distribution/blob_store.h"

namespace lorikeet {

// Thread-safe.  Files are read, not mapped: memory stays what it is, however large they are.
class DirectoryBlobStore final : public BlobStore {
 public:
  static absl::StatusOr<std::unique_ptr<DirectoryBlobStore>> Open(const std::string& directory);
  absl::StatusOr<Hash256> Put(std::string_view bytes) override;
  absl::StatusOr<Hash256> PutFile(const std::string& path) override;
  absl::StatusOr<std::string> Get(const Hash256& hash) override;
  absl::StatusOr<ChunkResult> Read(const ChunkQuery& query) override;
  std::optional<std::string> LocalPath(const Hash256& hash) const override;

 private:
  explicit DirectoryBlobStore(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(const Hash256& hash) const;
  absl::StatusOr<std::shared_ptr<const FileSource>> Find(const Hash256& hash);

  std::string directory_;
  absl::Mutex mutex_;
  std::map<Hash256, std::shared_ptr<const FileSource>> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_DIRECTORY_BLOB_STORE_H_
