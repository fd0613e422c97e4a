#include "common/base/huge_pages.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

namespace lorikeet {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Smaller files fit into caches and address tables well enough.
constexpr size_t kLargeFile = size_t{64} << 20;

void* Map(int fd, size_t size) {
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
#ifdef MADV_HUGEPAGE
  if (data != MAP_FAILED && size >= kLargeFile) madvise(data, size, MADV_HUGEPAGE);
#endif
  return data;
}

// Reads one page of the mapping and looks how the system maps it.  False also where it cannot
// tell.
bool IsMappedHuge(const void* data, size_t offset) {
#ifdef MADV_POPULATE_READ
  constexpr size_t kPage = 4096;
  const auto start = reinterpret_cast<uintptr_t>(data);
  if (madvise(reinterpret_cast<void*>(start + offset), kPage, MADV_POPULATE_READ) != 0) {
    return false;
  }
  const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/smaps", "re"), fclose);
  char line[512];
  bool here = false;
  while (maps != nullptr && std::fgets(line, sizeof(line), maps.get()) != nullptr) {
    unsigned long begin = 0;
    unsigned long end = 0;
    unsigned long kilobytes = 0;
    if (std::sscanf(line, "%lx-%lx ", &begin, &end) == 2) here = begin == start;
    if (here && std::sscanf(line, "FilePmdMapped: %lu kB", &kilobytes) == 1) return kilobytes > 0;
  }
#else
  (void)data;
  (void)offset;
#endif
  return false;
}

// Drops the range from the system's cache and maps the file anew: is what is read now huge?
bool WouldBeHuge(int fd, size_t size, size_t offset) {
  posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(kHugePage), POSIX_FADV_DONTNEED);
  void* data = Map(fd, size);
  if (data == MAP_FAILED) return false;
  const bool huge = IsMappedHuge(data, offset);
  munmap(data, size);
  return huge;
}

}  // namespace

void* MapForReading(int fd, size_t size) {
  void* data = Map(fd, size);
  if (data == MAP_FAILED || size < kLargeFile) return data;
  // The middle: what has been written or looked at last is often the beginning or the end.
  const size_t offset = size / 2 / kHugePage * kHugePage;
  if (IsMappedHuge(data, offset)) return data;
  munmap(data, size);
  if (WouldBeHuge(fd, size, offset)) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  return Map(fd, size);
}

}  // namespace lorikeet
