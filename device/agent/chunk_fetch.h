// Fetching one file: its missing chunks, each in pieces that cost little to send again, verified
// before it is written.  A part of ReleaseFollower.
#ifndef LORIKEET_DEVICE_AGENT_CHUNK_FETCH_H_
#define LORIKEET_DEVICE_AGENT_CHUNK_FETCH_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/agent/agent_store.h"

namespace lorikeet {

// Bytes of one request.  A link that breaks costs at most these again: 0.7 % of 20 MB.
inline constexpr uint32_t kPieceBytes = 1 << 17;

class ChunkFetch {
 public:
  // Borrows the store.  Errors of ChunksPresent.
  static absl::StatusOr<ChunkFetch> Create(ManifestFile file, AgentStore* store);

  const ManifestFile& file() const { return file_; }
  uint64_t bytes_missing() const;  // of chunks that are not there
  // The next bytes to ask for; nullopt: all chunks are there.
  std::optional<ChunkQuery> Next() const;
  // The answer to Next().  DATA_LOSS: not the bytes asked for, or a chunk without the signed hash,
  // which is begun again; errors of WriteChunk.
  absl::Status Accept(std::string_view piece);

 private:
  ChunkFetch(ManifestFile file, AgentStore* store, std::vector<bool> present);
  void GoToMissing();

  ManifestFile file_;
  AgentStore* store_;
  std::vector<bool> present_;
  std::vector<uint64_t> offsets_;
  size_t chunk_ = 0;   // the one being fetched
  std::string bytes_;  // of it
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_CHUNK_FETCH_H_
