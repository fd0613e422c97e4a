// A token bucket for downloads: on average no more than a rate, in short no more than a second's
// worth at once.
#ifndef LORIKEET_DEVICE_AGENT_DOWNLOAD_PACE_H_
#define LORIKEET_DEVICE_AGENT_DOWNLOAD_PACE_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace lorikeet {

// Not thread-safe.
class DownloadPace {
 public:
  // Bytes a second; 0: no limit.
  explicit DownloadPace(double rate) : rate_(rate) {}
  // Bytes that came.
  void Spend(uint64_t bytes, absl::Time now) {
    if (rate_ <= 0) return;
    // What was not used for more than a second is lost.
    paid_until_ = std::max(paid_until_, now - absl::Seconds(1));
    paid_until_ += absl::Seconds(static_cast<double>(bytes) / rate_);
  }
  // When more may be asked for.
  absl::Time next() const { return paid_until_; }

 private:
  double rate_;
  absl::Time paid_until_ = absl::InfinitePast();
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_DOWNLOAD_PACE_H_
