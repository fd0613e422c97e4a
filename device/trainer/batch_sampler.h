// Which windows (packing.h) make up each step: every epoch is a fresh shuffle, cut into batches;
// the last may be smaller.
#ifndef LORIKEET_DEVICE_TRAINER_BATCH_SAMPLER_H_
#define LORIKEET_DEVICE_TRAINER_BATCH_SAMPLER_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/random.h"

namespace lorikeet {

// Not thread-safe.
class BatchSampler {
 public:
  // REQUIRES: count > 0, batch_size > 0.
  BatchSampler(size_t count, size_t batch_size, uint64_t seed);

  // Indices of the next batch; valid until the next call.
  std::span<const size_t> Next();

  size_t batches_per_epoch() const { return (order_.size() + batch_size_ - 1) / batch_size_; }

  // Generator state before the current epoch's shuffle, and how many indices of the epoch were
  // given out.
  struct State {
    std::array<uint64_t, 4> epoch_start;
    uint64_t used = 0;
  };
  State state() const { return {epoch_start_, used_}; }
  // REQUIRES: a state of a sampler of the same count and batch size (used <= count).
  void Restore(const State& state);

 private:
  void Shuffle();

  size_t batch_size_;
  Rng rng_;
  std::array<uint64_t, 4> epoch_start_;
  std::vector<size_t> order_;
  size_t used_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_BATCH_SAMPLER_H_
