// Files: whole reads, atomic durable writes, read-only mappings.  Errors name the path and what the
// system said.
#ifndef LORIKEET_COMMON_BASE_FILE_H_
#define LORIKEET_COMMON_BASE_FILE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

// NOT_FOUND if there is no such file; RESOURCE_EXHAUSTED if it is larger than max_bytes.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t max_bytes = uint64_t{1} << 32);

// Writes to a temporary file beside `path`, syncs it, renames it over `path` and syncs the
// directory: after a crash the old content or the new is there, never a mixture.  On error
// (RESOURCE_EXHAUSTED when the disk is full) the old file is untouched.  `mode` as in chmod.
absl::Status WriteFileAtomic(const std::string& path, std::string_view content,
                             unsigned mode = 0644);

// Creates the directory and its parents; OK if it exists.
absl::Status MakeDirs(const std::string& path);

bool FileExists(const std::string& path);

// A read-only mapping of a whole file; unmapped by the destructor.  Thread-safe.
class MappedFile {
 public:
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, const uint8_t* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  const uint8_t* data_;
  size_t size_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_FILE_H_
