#include "device/trainer/parameter_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// Numbers that are in memory at once while the store is read through.
constexpr size_t kPiece = 16384;

absl::Status SpillError(const std::string& directory, const char* what, size_t bytes, int error) {
  const std::string message = absl::StrCat("cannot ", what, " a temporary file of ", bytes,
                                           " bytes in ", directory, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(message);
  }
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM || error == EROFS) {
    return absl::PermissionDeniedError(message);
  }
  return absl::UnavailableError(message);
}

// A descriptor of a file without a name, or -1.
int OpenUnnamed(const std::string& directory) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  // File systems without O_TMPFILE say EOPNOTSUPP, old kernels EISDIR.
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string path = directory + "/.lorikeet-XXXXXX";
  const int named = mkostemp(path.data(), O_CLOEXEC);  // mode 0600
  if (named >= 0) unlink(path.c_str());
  return named;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ParameterStore>> ParameterStore::Create(const std::string& directory,
                                                                       size_t count) {
  if (directory.empty()) return std::unique_ptr<ParameterStore>(new ParameterStore("", count, -1));
  const size_t bytes = count * sizeof(float);
  const int fd = OpenUnnamed(directory);
  if (fd < 0) return SpillError(directory, "make", bytes, errno);
  std::unique_ptr<ParameterStore> store(new ParameterStore(directory, count, fd));
  const int error = posix_fallocate(fd, 0, static_cast<off_t>(std::max<size_t>(bytes, 1)));
  if (error != 0) return SpillError(directory, "take room for", bytes, error);
  return store;
}

ParameterStore::~ParameterStore() {
  if (fd_ >= 0) close(fd_);
}

absl::Status ParameterStore::Put(std::span<const std::span<const float>> values) {
  size_t total = 0;
  for (const auto& span : values) total += span.size();
  LORIKEET_CHECK(total == count_);
  if (fd_ < 0) {
    memory_.clear();
    memory_.reserve(count_);
    for (const auto& span : values) memory_.insert(memory_.end(), span.begin(), span.end());
    filled_ = true;
    return absl::OkStatus();
  }
  off_t offset = 0;
  for (const auto& span : values) {
    const char* data = reinterpret_cast<const char*>(span.data());
    for (size_t left = span.size_bytes(); left > 0;) {
      const ssize_t written = pwrite(fd_, data, left, offset);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return SpillError(directory_, "write", count_ * sizeof(float), errno);
      data += written;
      offset += written;
      left -= static_cast<size_t>(written);
    }
  }
  filled_ = true;
  return absl::OkStatus();
}

absl::Status ParameterStore::ForEachPiece(
    const std::function<absl::Status(std::span<const float> piece)>& visit) const {
  LORIKEET_CHECK(filled_);
  if (fd_ < 0) return visit(memory_);
  std::vector<float> buffer(std::min(kPiece, count_));
  for (size_t begin = 0; begin < count_; begin += buffer.size()) {
    const std::span<float> piece(buffer.data(), std::min(buffer.size(), count_ - begin));
    const size_t start = begin * sizeof(float);
    for (size_t got = 0; got < piece.size_bytes();) {
      const ssize_t count = pread(fd_, reinterpret_cast<char*>(piece.data()) + got,
                                  piece.size_bytes() - got, static_cast<off_t>(start + got));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return SpillError(directory_, "read", count_ * sizeof(float), errno);
      got += static_cast<size_t>(count);
    }
    RETURN_IF_ERROR(visit(piece));
  }
  return absl::OkStatus();
}

absl::Status ParameterStore::Get(std::span<const std::span<float>> values) const {
  size_t span_index = 0, used = 0;
  return ForEachPiece([&](std::span<const float> piece) {
    while (!piece.empty()) {
      while (span_index < values.size() && used == values[span_index].size()) {
        ++span_index;
        used = 0;
      }
      LORIKEET_CHECK(span_index < values.size());
      const std::span<float> target = values[span_index].subspan(used);
      const size_t take = std::min(target.size(), piece.size());
      std::copy_n(piece.begin(), take, target.begin());
      used += take;
      piece = piece.subspan(take);
    }
    return absl::OkStatus();
  });
}

}  // namespace lorikeet
