// What the files of this folder that call POSIX share.  Not for use outside this folder: see file.h
// and atomic_file.h.
#ifndef LORIKEET_COMMON_BASE_POSIX_FILE_H_
#define LORIKEET_COMMON_BASE_POSIX_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lorikeet {

// "cannot <what> <path>: <what errno says>", with the code that fits errno.
absl::Status ErrnoError(const char* what, const std::string& path);

// Closes its descriptor (unless negative) when destroyed.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  // The result of close().
  int Close();

 private:
  int fd_;
};

// All of `content`, continued after interruptions.
absl::Status WriteAll(int fd, std::string_view content, const std::string& path);
// So that a rename in the directory of `path` survives a crash.
absl::Status SyncDirectoryOf(const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_POSIX_FILE_H_
