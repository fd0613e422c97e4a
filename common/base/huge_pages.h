// Mapping large files in huge pages.
//
// A model is read from end to end for every token.  In pages of 4 KiB the processor's address
// tables limit that: on a virtual machine to 18 of 31 GB/s for one thread, 24 of 34 for two
// (measured, AMD Zen 4, Linux 6.18).  Linux maps a file's cached pages in pieces of 2 MiB when the
// file system keeps them so (ext4, XFS and others of recent kernels), which it does for what is
// read after madvise(MADV_HUGEPAGE).
#ifndef LORIKEET_COMMON_BASE_HUGE_PAGES_H_
#define LORIKEET_COMMON_BASE_HUGE_PAGES_H_

#include <cstddef>

namespace lorikeet {

// A shared, read-only mapping of the first `size` > 0 bytes of `fd`, MAP_FAILED with errno set as
// mmap.  Large files are mapped in huge pages where the system can: if the cache holds the file in
// small pages (it was just written), and a piece of it proves that reading it again makes huge
// ones, the cached copy is dropped and the file is read again, once, as it is used.  Pages that
// other processes map, or that wait to be written, stay as they are.
void* MapForReading(int fd, size_t size);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_HUGE_PAGES_H_
