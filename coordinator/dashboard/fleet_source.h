// Views of a fleet for many readers: read from the store at most so often, whoever asks.
#ifndef LORIKEET_COORDINATOR_DASHBOARD_FLEET_SOURCE_H_
#define LORIKEET_COORDINATOR_DASHBOARD_FLEET_SOURCE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "coordinator/dashboard/fleet_view.h"

namespace lorikeet {

struct FleetSnapshot {
  FleetView view;
  std::string json;
  std::string tag;  // of the JSON's bytes
};

// Thread-safe.
class FleetSource {
 public:
  struct Options {
    Store* store = nullptr;  // of its own: nobody else uses it
    const Clock* clock = nullptr;
    absl::Duration oldest = absl::Milliseconds(500);  // a view is read again after this
    // Told of every reading; may be null.
    std::function<void(absl::Duration took, bool ok)> observe = {};
  };
  // Borrows what is in options.
  explicit FleetSource(const Options& options) : options_(options), viewer_(options.store) {}

  // The store's error, as long as it lasts.
  absl::StatusOr<std::shared_ptr<const FleetSnapshot>> Get();

 private:
  const Options options_;
  absl::Mutex mutex_;
  FleetViewer viewer_ ABSL_GUARDED_BY(mutex_);
  absl::StatusOr<std::shared_ptr<const FleetSnapshot>> newest_ ABSL_GUARDED_BY(mutex_) =
      absl::UnavailableError("nothing was read yet");
  absl::Time read_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DASHBOARD_FLEET_SOURCE_H_
