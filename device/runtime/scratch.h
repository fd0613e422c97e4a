// Memory for the values between two steps of a computation: grows, is never cleared, costs nothing
// until it is written, and goes back to the system at the end.
#ifndef LORIKEET_DEVICE_RUNTIME_SCRATCH_H_
#define LORIKEET_DEVICE_RUNTIME_SCRATCH_H_

#include <cstddef>
#include <cstdint>

#include "kernels/views.h"

namespace lorikeet {

// Whole pages of the system's, not the allocator's: that one keeps what is freed.  Out of memory
// throws std::bad_alloc as new does: what a session needs was checked before (memory_estimate.h).
class ScratchPages {
 public:
  ScratchPages() = default;
  ~ScratchPages();
  ScratchPages(const ScratchPages&) = delete;
  ScratchPages& operator=(const ScratchPages&) = delete;

  // At least `bytes`, of no particular content; what was given before is gone if it has to grow.
  void* Need(size_t bytes);

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Not thread-safe.
template <typename T>
class Scratch {
 public:
  T* Need(int64_t count) {
    return static_cast<T*>(pages_.Need(static_cast<size_t>(count) * sizeof(T)));
  }
  MatrixView<T> Shape(int64_t rows, int64_t cols) { return {Need(rows * cols), rows, cols}; }

 private:
  ScratchPages pages_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_SCRATCH_H_
