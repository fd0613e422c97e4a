#include "simulations/world/event_queue.h"

#include <algorithm>
#include <utility>

namespace lorikeet {

void EventQueue::At(absl::Time when, std::function<void()> run) {
  events_.push({std::max(when, Now()), next_sequence_++, std::move(run)});
}

void EventQueue::After(absl::Duration delay, std::function<void()> run) {
  At(Now() + delay, std::move(run));
}

bool EventQueue::RunNext() {
  if (events_.empty()) return false;
  // The event may schedule others, so it leaves the queue first.
  Event event = std::move(const_cast<Event&>(events_.top()));
  events_.pop();
  clock_.Set(event.when);
  ++events_run_;
  event.run();
  return true;
}

}  // namespace lorikeet
