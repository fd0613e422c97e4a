#include "coordinator/admin/serve_dashboard.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<Dashboard>> Dashboard::Start(const Settings& settings) {
  auto dashboard = std::unique_ptr<Dashboard>(new Dashboard);
  ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(settings.dashboard));
  dashboard->host_ = address.host;
  ASSIGN_OR_RETURN(dashboard->store_, OpenStore(settings.store_path, false));
  CoordinatorMetrics* metrics = &dashboard->metrics_;
  dashboard->source_ = std::make_unique<FleetSource>(FleetSource::Options{
      .store = dashboard->store_.get(),
      .clock = &dashboard->clock_,
      .observe = [metrics](absl::Duration took, bool ok) { metrics->OnStoreRead(took, ok); }});
  FleetSource* source = dashboard->source_.get();
  DashboardServer::Options options;
  options.listen = settings.dashboard;
  options.allow_remote = settings.dashboard_allow_remote;
  options.names = settings.dashboard_names;
  options.source = source;
  options.metrics = [metrics, source] {
    const auto snapshot = source->Get();
    return metrics->Render(snapshot.ok() ? &(*snapshot)->view : nullptr);
  };
  ASSIGN_OR_RETURN(dashboard->server_, DashboardServer::Start(options));
  return dashboard;
}

std::string Dashboard::url() const {
  const bool bracketed = host_.find(':') != std::string::npos;
  return absl::StrCat("http://", bracketed ? "[" : "", host_, bracketed ? "]" : "", ":", port());
}

}  // namespace lorikeet
