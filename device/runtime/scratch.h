// Memory for the values between two steps of a computation: grows, is never cleared, and costs
// nothing until it is written.
#ifndef LORIKEET_DEVICE_RUNTIME_SCRATCH_H_
#define LORIKEET_DEVICE_RUNTIME_SCRATCH_H_

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "kernels/views.h"

namespace lorikeet {

// Not thread-safe.  Out of memory ends the process, as everywhere: what a session needs was checked
// before (memory_estimate.h).
template <typename T>
class Scratch {
 public:
  // `count` values of no particular content, at a cache line; the views given before become
  // invalid if it has to grow.
  T* Need(int64_t count) {
    if (count <= size_) return data_.get();
    data_.reset();
    constexpr size_t kLine = 64;
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + kLine - 1) / kLine * kLine;
    data_.reset(static_cast<T*>(std::aligned_alloc(kLine, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
    size_ = count;
    return data_.get();
  }
  MatrixView<T> Shape(int64_t rows, int64_t cols) { return {Need(rows * cols), rows, cols}; }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t size_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_SCRATCH_H_
