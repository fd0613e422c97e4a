// A file written piece by piece that appears whole or not at all: WriteFileAtomic (file.h) for
// content that should not lie in memory at once.
#ifndef LORIKEET_COMMON_BASE_ATOMIC_FILE_H_
#define LORIKEET_COMMON_BASE_ATOMIC_FILE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/posix_file.h"

namespace lorikeet {

// Not thread-safe.
class AtomicFile {
 public:
  // Opens a temporary file beside `path`.  `mode` as in chmod.  A device or a pipe (/dev/null) is
  // written to, never replaced.
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(const std::string& path,
                                                            unsigned mode = 0644);
  // Removes the temporary file unless Commit was reached.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Append(std::string_view bytes);
  // Syncs, renames over `path`, syncs the directory.  Nothing may be appended afterwards.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), file_(fd) {}
  std::string path_;
  std::string temporary_;  // empty: `path_` is special and written in place
  FileDescriptor file_;
};

// Whether a file can be made at `path`: asked before work that takes long, since afterwards is too
// late.  Leaves nothing behind, touches nothing that is there.  FAILED_PRECONDITION: a directory;
// else as Create.
absl::Status CheckWritable(const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_ATOMIC_FILE_H_
