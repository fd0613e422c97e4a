// Who may hold training up: the platform, for heat, battery, or because its owner wants the device.
//
// Training calls AtPausePoint between small pieces of work (products of a layer, pieces of the
// vocabulary loss), every few tens of milliseconds.  Not here: limits of time and energy
// (TrainOptions).
#ifndef LORIKEET_DEVICE_TRAINER_GOVERNOR_H_
#define LORIKEET_DEVICE_TRAINER_GOVERNOR_H_

#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lorikeet {

// Called by the training thread only.
class TrainingGovernor {
 public:
  virtual ~TrainingGovernor() = default;
  // Returns when training may go on.  CANCELLED: stop now; the step at hand is dropped and what was
  // learned before it is kept.  Any other error ends training with it.
  virtual absl::Status AtPausePoint() = 0;
  // How long training was held up so far.
  virtual absl::Duration paused_time() const = 0;
};

struct PauseOptions {
  std::string pause_file = {};             // training rests while it exists; empty: none
  std::function<bool()> paused = nullptr;  // training rests while it says so; null: never
  // True: AtPausePoint says CANCELLED, paused or not; null: never.
  std::function<bool()> stopped = nullptr;
  // Called at every look while training rests; may be null.
  std::function<void()> resting = nullptr;
};

// Looks at its sources at most every 20 ms, and every 20 ms while training rests: it goes on well
// within 100 ms of being allowed to.  A rest is measured by the system's monotonic clock.
class PausingGovernor final : public TrainingGovernor {
 public:
  explicit PausingGovernor(PauseOptions options) : options_(std::move(options)) {}

  absl::Status AtPausePoint() override;
  absl::Duration paused_time() const override { return paused_time_; }

 private:
  bool MustRest() const;

  PauseOptions options_;
  absl::Duration paused_time_ = absl::ZeroDuration();
  std::chrono::steady_clock::time_point next_look_{};
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_GOVERNOR_H_
