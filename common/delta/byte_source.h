// Bytes read at any position: a file of which only windows lie in memory, or bytes in memory.
#ifndef LORIKEET_COMMON_DELTA_BYTE_SOURCE_H_
#define LORIKEET_COMMON_DELTA_BYTE_SOURCE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/base/posix_file.h"

namespace lorikeet {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size() const = 0;
  // All of `out`, from `offset`.  OUT_OF_RANGE: it does not lie inside; DATA_LOSS: the file became
  // shorter.
  virtual absl::Status Read(uint64_t offset, std::span<uint8_t> out) const = 0;
};

// Thread-safe.
class FileSource final : public ByteSource {
 public:
  // NOT_FOUND; INVALID_ARGUMENT: not a regular file.
  static absl::StatusOr<std::unique_ptr<FileSource>> Open(const std::string& path);
  uint64_t size() const override { return size_; }
  absl::Status Read(uint64_t offset, std::span<uint8_t> out) const override;

 private:
  FileSource(std::string path, int fd) : path_(std::move(path)), file_(fd) {}
  std::string path_;
  FileDescriptor file_;
  uint64_t size_ = 0;
};

// Borrows the bytes.  Thread-safe.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint64_t size() const override { return bytes_.size(); }
  absl::Status Read(uint64_t offset, std::span<uint8_t> out) const override;

 private:
  std::span<const uint8_t> bytes_;
};

// BLAKE2b-256 of everything, read a window at a time.
absl::StatusOr<Hash256> HashOf(const ByteSource& source);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DELTA_BYTE_SOURCE_H_
