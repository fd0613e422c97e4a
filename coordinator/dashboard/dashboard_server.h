// The dashboard on HTTP: one page, its data and the metrics.  Read-only: there is no request that
// changes anything, and no log-in either, which is why it listens on this machine only unless told
// otherwise.
//
//   GET /             the page (and its files: assets.h)
//   GET /state.json   fleet_view.h; with an ETag
//   GET /metrics      Prometheus text
//   GET /healthz      200 "ok", or 503 and why
//
// Guards: GET and HEAD only, no bodies, request heads of 16 KiB and five seconds, few threads, and
// a Host header that no other site's name can be behind (DNS rebinding).
#ifndef LORIKEET_COORDINATOR_DASHBOARD_DASHBOARD_SERVER_H_
#define LORIKEET_COORDINATOR_DASHBOARD_DASHBOARD_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/dashboard/fleet_source.h"

namespace lorikeet {

struct ListenAddress {
  std::string host;  // without brackets
  int port = 0;
};
// "HOST:PORT", "[::1]:PORT".  INVALID_ARGUMENT.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// OK for addresses of this machine's loopback, and for all if `allow_remote`.  PERMISSION_DENIED
// says why not.
absl::Status CheckDashboardAddress(const ListenAddress& address, bool allow_remote);

// Whether a request with this Host header may be answered: an address, localhost, or one of `names`
// (without ports).
bool IsHostAllowed(std::string_view host, const std::vector<std::string>& names);

class DashboardServer {
 public:
  struct Options {
    std::string listen = "127.0.0.1:0";
    bool allow_remote = false;
    std::vector<std::string> names;        // it is also reached by, say behind a proxy
    FleetSource* source = nullptr;         // borrowed
    std::function<std::string()> metrics;  // thread-safe
  };
  // UNAVAILABLE: cannot listen there.
  static absl::StatusOr<std::unique_ptr<DashboardServer>> Start(const Options& options);
  ~DashboardServer();  // stops: open requests end first
  DashboardServer(const DashboardServer&) = delete;
  DashboardServer& operator=(const DashboardServer&) = delete;

  int port() const;

 private:
  struct State;
  explicit DashboardServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DASHBOARD_DASHBOARD_SERVER_H_
