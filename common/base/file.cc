#include "common/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/atomic_file.h"
#include "common/base/huge_pages.h"
#include "common/base/posix_file.h"
#include "common/base/shrink_guard.h"
#include "common/base/status_macros.h"

namespace lorikeet {

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoError("open", path);
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("read", path);
    }
    if (got == 0) return content;
    if (content.size() + static_cast<size_t>(got) > max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("%s: expected at most %d bytes, got more", path, max_bytes));
    }
    content.append(buffer, static_cast<size_t>(got));
  }
}

absl::Status WriteFileAtomic(const std::string& path, std::string_view content, unsigned mode) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path, mode));
  RETURN_IF_ERROR(file->Append(content));
  return file->Commit();
}

absl::Status MakeDirs(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error && !std::filesystem::is_directory(path)) {
    errno = error.value();
    return ErrnoError("create directory", path);
  }
  return absl::OkStatus();
}

bool FileExists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoError("open", path);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return ErrnoError("stat", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a regular file"));
  }
  const size_t size = static_cast<size_t>(info.st_size);
  if (size == 0) return std::unique_ptr<MappedFile>(new MappedFile(path, nullptr, 0));
  void* data = MapForReading(file.get(), size);
  if (data == MAP_FAILED) return ErrnoError("map", path);
  const auto* bytes = static_cast<const uint8_t*>(data);
  GuardMapping(bytes, size, path);
  return std::unique_ptr<MappedFile>(new MappedFile(path, bytes, size));
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  UnguardMapping(data_);
  munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace lorikeet
