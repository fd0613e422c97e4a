// The dashboard and the metrics of a serving coordinator.
#ifndef LORIKEET_COORDINATOR_ADMIN_SERVE_DASHBOARD_H_
#define LORIKEET_COORDINATOR_ADMIN_SERVE_DASHBOARD_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/dashboard/dashboard_server.h"
#include "coordinator/dashboard/fleet_source.h"
#include "coordinator/metrics/coordinator_metrics.h"

namespace lorikeet {

class Dashboard {
 public:
  // Over a connection to the store of its own.  REQUIRES: settings.dashboard is not empty.
  static absl::StatusOr<std::unique_ptr<Dashboard>> Start(const Settings& settings);

  RpcObserver* observer() { return &metrics_; }
  int port() const { return server_->port(); }
  std::string url() const;

 private:
  Dashboard() = default;

  CoordinatorMetrics metrics_;
  SystemClock clock_;
  std::string host_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<FleetSource> source_;
  std::unique_ptr<DashboardServer> server_;  // last: it stops before what it reads is gone
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_SERVE_DASHBOARD_H_
