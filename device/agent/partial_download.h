// A file that is being downloaded: its chunks, in whichever order they come, and which of them are
// there.  Survives kill -9 at any instant: nothing is counted that is not written.
//
// PATH.part holds the bytes, each chunk in its place; PATH.chunks says which are there:
//   "LKCHUNK1" 8 bytes, the plan's hash 32, then a bit a chunk, the lowest of a byte first.
// The plan is the file's hash and the lengths of its chunks: a map of another plan is not used.
#ifndef LORIKEET_DEVICE_AGENT_PARTIAL_DOWNLOAD_H_
#define LORIKEET_DEVICE_AGENT_PARTIAL_DOWNLOAD_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/wire/manifest.h"

namespace lorikeet {

// Not thread-safe.  Borrows the file's description.
class PartialDownload {
 public:
  // Of the file that will be `path`.
  PartialDownload(const ManifestFile& file, std::string path);

  // Which chunks are there; none if nothing was begun.
  absl::StatusOr<std::vector<bool>> Present() const;
  // A verified chunk in its place, then its bit, each durable.  The first one reserves the room of
  // the whole file: RESOURCE_EXHAUSTED says how much there is not.
  absl::Status Write(size_t chunk, std::string_view data);
  // Makes `path` of it if the whole has the right hash; nothing is left of the download then.
  // DATA_LOSS: what was written did not stay; the chunks that are wrong are no longer present, the
  // others are kept.
  absl::Status Finish();

 private:
  std::string part_path() const { return path_ + ".part"; }
  std::string map_path() const { return path_ + ".chunks"; }
  absl::Status Begin() const;
  absl::Status WriteMap(const std::vector<bool>& present) const;
  absl::Status ForgetWrongChunks() const;

  const ManifestFile& file_;
  std::string path_;
  Hash256 plan_;
};

// Endings of the files that a download leaves beside the finished ones.
bool IsPartOfDownload(std::string_view file_name);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_PARTIAL_DOWNLOAD_H_
