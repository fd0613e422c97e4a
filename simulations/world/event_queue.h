// Virtual time: things that happen later, in order of time and then of scheduling.
//
// Single-threaded.  The same calls give the same order, always.
#ifndef LORIKEET_SIMULATIONS_WORLD_EVENT_QUEUE_H_
#define LORIKEET_SIMULATIONS_WORLD_EVENT_QUEUE_H_

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"

namespace lorikeet {

class EventQueue {
 public:
  explicit EventQueue(absl::Time start) : clock_(start) {}

  // Stands still while an event runs.
  const Clock& clock() const { return clock_; }
  absl::Time Now() const { return clock_.Now(); }
  // A time that is past already means now.
  void At(absl::Time when, std::function<void()> run);
  void After(absl::Duration delay, std::function<void()> run);

  // Moves the clock to the next event and runs it; false if there is none.
  bool RunNext();
  int64_t events_run() const { return events_run_; }

 private:
  struct Event {
    absl::Time when;
    uint64_t sequence = 0;
    std::function<void()> run;
    bool operator<(const Event& other) const {  // the queue's top is the greatest
      return when != other.when ? when > other.when : sequence > other.sequence;
    }
  };

  ManualClock clock_;
  std::priority_queue<Event> events_;
  uint64_t next_sequence_ = 0;
  int64_t events_run_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_EVENT_QUEUE_H_
