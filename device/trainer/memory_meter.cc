#include "device/trainer/memory_meter.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace lorikeet {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(1);

// Kilobytes of a line such as "RssAnon:   1234 kB"; 0 if there is none.  REQUIRES: `status` is
// followed by a null byte.
int64_t Kilobytes(std::string_view status, std::string_view field) {
  const size_t at = status.find(field);
  if (at == std::string_view::npos) return 0;
  return std::strtoll(status.data() + at + field.size(), nullptr, 10);
}

}  // namespace

MemoryMeter::MemoryMeter() : fd_(open("/proc/self/status", O_RDONLY | O_CLOEXEC)) {}

MemoryMeter::~MemoryMeter() {
  if (fd_ >= 0) close(fd_);
}

int64_t MemoryMeter::Now() {
  char buffer[8192];
  const ssize_t count = fd_ >= 0 ? pread(fd_, buffer, sizeof(buffer) - 1, 0) : 0;
  if (count <= 0) return 0;
  buffer[count] = 0;
  const std::string_view status(buffer, static_cast<size_t>(count));
  const int64_t bytes = 1024 * (Kilobytes(status, "RssAnon:") + Kilobytes(status, "RssShmem:"));
  peak_ = std::max(peak_, bytes);
  return bytes;
}

void MemoryMeter::Sample() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  Now();
}

void ReturnFreeMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace lorikeet
