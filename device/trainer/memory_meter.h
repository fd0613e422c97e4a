// The working set of this process: what it holds in memory that no file backs.
//
// RssAnon + RssShmem of /proc/self/status (proc(5)): heap, stacks, and shared memory; not the
// mapped model, whose pages the system may drop.  The kernel counts in batches, so a reading may be
// off by some hundred kilobytes.
#ifndef LORIKEET_DEVICE_TRAINER_MEMORY_METER_H_
#define LORIKEET_DEVICE_TRAINER_MEMORY_METER_H_

#include <chrono>
#include <cstdint>

namespace lorikeet {

// Watches the working set by looking now and then.  Not thread-safe.
class MemoryMeter {
 public:
  MemoryMeter();
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  // Bytes now; 0 where the system does not say.
  int64_t Now();
  // Looks, but not twice within a millisecond (a look takes some 20 microseconds).
  void Sample();
  // The most that was seen.
  int64_t peak() const { return peak_; }

 private:
  int fd_;
  int64_t peak_ = 0;
  std::chrono::steady_clock::time_point next_{};
};

// Gives memory that was freed back to the system, so that what is measured afterwards is in use.
void ReturnFreeMemory();

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_MEMORY_METER_H_
