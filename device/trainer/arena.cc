#include "device/trainer/arena.h"

#include <sys/mman.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(capacity_));
}

absl::Status Arena::Reserve(int64_t bytes) {
  used_ = 0;
  peak_ = 0;
  if (bytes <= capacity_) return absl::OkStatus();
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(capacity_));
  data_ = nullptr;
  capacity_ = 0;
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("training: the system gives no %d bytes of memory for a step", bytes));
  }
  data_ = static_cast<uint8_t*>(memory);
  capacity_ = bytes;
  return absl::OkStatus();
}

uint8_t* Arena::TakeBytes(int64_t bytes) {
  const int64_t begin = used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  peak_ = std::max(peak_, used_);
  if (data_ == nullptr) return nullptr;
  LORIKEET_CHECK(used_ <= capacity_);
  return data_ + begin;
}

Matrix Arena::Take(int64_t rows, int64_t cols) {
  uint8_t* bytes = TakeBytes(rows * cols * static_cast<int64_t>(sizeof(float)));
  return {reinterpret_cast<float*>(bytes), rows, cols};
}

}  // namespace lorikeet
