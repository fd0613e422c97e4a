#include "coordinator/dashboard/fleet_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/strings.h"

namespace lorikeet {

absl::StatusOr<std::shared_ptr<const FleetSnapshot>> FleetSource::Get() {
  absl::MutexLock lock(&mutex_);
  const absl::Time now = options_.clock->Now();
  // A clock that was set back must not keep an old view alive.
  if (now >= read_ && now < read_ + options_.oldest) return newest_;
  const absl::Time begin = absl::Now();
  auto view = viewer_.Read(now);
  if (options_.observe) options_.observe(absl::Now() - begin, view.ok());
  read_ = now;
  if (!view.ok()) {
    newest_ = Annotate(view.status(), "the store cannot be read");
    return newest_;
  }
  auto snapshot = std::make_shared<FleetSnapshot>();
  snapshot->view = *std::move(view);
  snapshot->json = FleetViewToJson(snapshot->view);
  snapshot->tag = ToHex(Blake2b(AsBytes(snapshot->json))).substr(0, 32);
  newest_ = std::shared_ptr<const FleetSnapshot>(std::move(snapshot));
  return newest_;
}

}  // namespace lorikeet
