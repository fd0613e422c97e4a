// The memory of a training step: one mapping, handed out from the bottom up and given back in
// reverse order.
//
// Phases of a step whose buffers do not live at the same time share it, and what a step needs can
// be counted without touching memory: the same code that takes the buffers runs on an arena that
// only counts.  So what is predicted is what is used.
#ifndef LORIKEET_DEVICE_TRAINER_ARENA_H_
#define LORIKEET_DEVICE_TRAINER_ARENA_H_

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/views.h"

namespace lorikeet {

// Not thread-safe.
class Arena {
 public:
  Arena() = default;  // counts until Reserve
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Makes room for `bytes`; what was handed out before is gone.  RESOURCE_EXHAUSTED: the system
  // gives no memory.
  absl::Status Reserve(int64_t bytes);

  // Aligned to 64 bytes; contents unspecified.  Without room (counting) the views have no data.
  // REQUIRES: it fits, once Reserve was called.
  Matrix Take(int64_t rows, int64_t cols);
  uint8_t* TakeBytes(int64_t bytes);

  // Everything taken after Mark() is given back.
  int64_t Mark() const { return used_; }
  void Release(int64_t mark) { used_ = mark; }

  int64_t capacity() const { return capacity_; }
  int64_t peak() const { return peak_; }  // most bytes that were out at once

 private:
  uint8_t* data_ = nullptr;
  int64_t capacity_ = 0;
  int64_t used_ = 0;
  int64_t peak_ = 0;
};

// Gives back what is taken from `arena` during its life.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.Mark()) {}
  ~ArenaScope() { arena_.Release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  int64_t mark_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_ARENA_H_
