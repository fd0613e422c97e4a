// What a coordinator counts about itself, for Prometheus: calls by method and code, how long they
// took, how the store answers, memory; and, of its fleet, fleet_families.h.
#ifndef LORIKEET_COORDINATOR_METRICS_COORDINATOR_METRICS_H_
#define LORIKEET_COORDINATOR_METRICS_COORDINATOR_METRICS_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/dashboard/fleet_view.h"
#include "coordinator/server/rpc_observer.h"

namespace lorikeet {

// Thread-safe.
class CoordinatorMetrics final : public RpcObserver {
 public:
  CoordinatorMetrics();
  ~CoordinatorMetrics() override;

  void OnCall(std::string_view method, absl::StatusCode code, absl::Duration took) override;
  // A reading of the whole fleet's state from the store.
  void OnStoreRead(absl::Duration took, bool ok);

  // Prometheus text (version 0.0.4).  `view`: null if the store cannot be read.
  std::string Render(const FleetView* view) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_METRICS_COORDINATOR_METRICS_H_
