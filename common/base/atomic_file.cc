#include "common/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

bool IsSpecialFile(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

}  // namespace

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& path,
                                                               unsigned mode) {
  if (IsSpecialFile(path)) {
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoError("open", path);
    return std::unique_ptr<AtomicFile>(new AtomicFile(path, "", fd));
  }
  std::string temporary = absl::StrCat(path, ".tmp.", getpid());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoError("create", temporary);
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, std::move(temporary), fd));
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::Status AtomicFile::Append(std::string_view bytes) {
  return WriteAll(file_.get(), bytes, temporary_.empty() ? path_ : temporary_);
}

absl::Status AtomicFile::Commit() {
  if (temporary_.empty()) return file_.Close() == 0 ? absl::OkStatus() : ErrnoError("close", path_);
  if (fsync(file_.get()) != 0) return ErrnoError("sync", temporary_);
  if (file_.Close() != 0) return ErrnoError("close", temporary_);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return ErrnoError("rename into place", path_);
  }
  temporary_.clear();
  return SyncDirectoryOf(path_);
}

absl::Status CheckWritable(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected the name of a file to write, found a directory"));
  }
  return AtomicFile::Create(path).status();
}

}  // namespace lorikeet
