#include "common/delta/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

absl::Status CheckInside(uint64_t offset, uint64_t length, uint64_t size) {
  if (offset <= size && length <= size - offset) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrFormat("expected bytes inside the %d there are, got %d + %d", size, offset, length));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileSource>> FileSource::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError("open", path);
  auto source = std::unique_ptr<FileSource>(new FileSource(path, fd));
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoError("stat", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a regular file"));
  }
  source->size_ = static_cast<uint64_t>(info.st_size);
  return source;
}

absl::Status FileSource::Read(uint64_t offset, std::span<uint8_t> out) const {
  RETURN_IF_ERROR(CheckInside(offset, out.size(), size_));
  for (size_t done = 0; done < out.size();) {
    const ssize_t got =
        pread(file_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("read", path_);
    if (got == 0) return absl::DataLossError(absl::StrCat(path_, " became shorter"));
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status MemorySource::Read(uint64_t offset, std::span<uint8_t> out) const {
  RETURN_IF_ERROR(CheckInside(offset, out.size(), bytes_.size()));
  std::ranges::copy(bytes_.subspan(offset, out.size()), out.begin());
  return absl::OkStatus();
}

absl::StatusOr<Hash256> HashOf(const ByteSource& source) {
  Hasher hasher;
  std::vector<uint8_t> window(1 << 18);
  for (uint64_t offset = 0; offset < source.size();) {
    const size_t take = std::min<uint64_t>(window.size(), source.size() - offset);
    const std::span<uint8_t> piece(window.data(), take);
    RETURN_IF_ERROR(source.Read(offset, piece));
    hasher.Update(piece);
    offset += take;
  }
  return hasher.Finish();
}

}  // namespace lorikeet
