#include "device/trainer/batch_sampler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"

namespace lorikeet {

BatchSampler::BatchSampler(size_t count, size_t batch_size, uint64_t seed)
    : batch_size_(batch_size), rng_(seed), order_(count) {
  LORIKEET_CHECK(count > 0 && batch_size > 0);
  Shuffle();
}

void BatchSampler::Shuffle() {
  epoch_start_ = rng_.state();
  // From the identity each time, so that an epoch's order depends on the generator's state alone.
  std::iota(order_.begin(), order_.end(), size_t{0});
  for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng_.Below(i)]);
  used_ = 0;
}

std::span<const size_t> BatchSampler::Next() {
  if (used_ == order_.size()) Shuffle();
  const size_t take = std::min(batch_size_, order_.size() - used_);
  const std::span<const size_t> batch(order_.data() + used_, take);
  used_ += take;
  return batch;
}

void BatchSampler::Restore(const State& state) {
  LORIKEET_CHECK(state.used <= order_.size());
  rng_.set_state(state.epoch_start);
  Shuffle();
  used_ = state.used;
}

}  // namespace lorikeet
