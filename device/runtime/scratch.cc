#include "device/runtime/scratch.h"

#include <sys/mman.h>

#include <new>

namespace lorikeet {

ScratchPages::~ScratchPages() {
  if (data_ != nullptr) munmap(data_, size_);
}

void* ScratchPages::Need(size_t bytes) {
  if (bytes <= size_) return data_;
  if (data_ != nullptr) munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  data_ = data;
  size_ = bytes;
  return data_;
}

}  // namespace lorikeet
