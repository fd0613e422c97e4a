// What vouches for releases and rounds, kept for ever: the fleet's metadata (common/trust) and the
// log (common/transparency).  No keys.  Not thread-safe.
#ifndef LORIKEET_COORDINATOR_STORAGE_TRUST_STORE_H_
#define LORIKEET_COORDINATOR_STORAGE_TRUST_STORE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/transparency/release_log.h"
#include "common/trust/metadata.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

struct TrustRecord {
  TrustRole role = TrustRole::kRoot;
  uint64_t version = 0;
  SignedMetadata document;
};

struct LogAppend {
  uint64_t position = 0;  // the size of the log before
  LogEntry entry;
  std::vector<MerkleNode> nodes;  // that it completes
};

class TrustStore : public MerkleNodes {
 public:
  // One transaction.  Of the other roles than root only the newest version is kept.
  // ALREADY_EXISTS: one of these versions is there (somebody was faster), and nothing was stored.
  virtual absl::Status AddTrust(const std::vector<TrustRecord>& records) = 0;
  // The newest of each role that has one: one moment's documents.
  virtual absl::StatusOr<std::vector<TrustRecord>> CurrentTrust() = 0;
  // At most `limit`, oldest first.
  virtual absl::StatusOr<std::vector<TrustRecord>> RootsAfter(uint64_t version, int limit) = 0;
  // The newest release of every kind for every base.
  virtual absl::StatusOr<std::vector<ReleaseRecord>> NewestReleases() = 0;

  // One transaction.  ALREADY_EXISTS: the position is taken or the entry is in, and nothing was
  // stored.
  virtual absl::Status AppendLog(const LogAppend& append) = 0;
  virtual absl::StatusOr<uint64_t> LogSize() = 0;
  virtual absl::StatusOr<std::optional<uint64_t>> FindLogEntry(const LogEntry& entry) = 0;
  // At most `limit` from position `first` on.
  virtual absl::StatusOr<std::vector<LogEntry>> ReadLog(uint64_t first, int limit) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_TRUST_STORE_H_
