// An exclusive lock on a file: two processes must not serve one store or act for one device.
//
// Advisory (flock), held until the object is destroyed or the process ends, however it ends.
#ifndef LORIKEET_COMMON_BASE_FILE_LOCK_H_
#define LORIKEET_COMMON_BASE_FILE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace lorikeet {

class FileLock {
 public:
  // Makes the file if need be; does not wait.  ALREADY_EXISTS: another process holds it.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(const std::string& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_FILE_LOCK_H_
