#include "coordinator/metrics/coordinator_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <cstdio>
#include <iterator>
#include <sstream>
#include <utility>

#include "absl/time/clock.h"
#include "coordinator/metrics/fleet_families.h"

namespace lorikeet {
namespace {

// Seconds: a check-in takes well under a millisecond, the call that ends a round may take a minute.
const prometheus::Histogram::BucketBoundaries kCallSeconds = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60};

double ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  long pages = 0;
  const int read = std::fscanf(file, "%*d %ld", &pages);
  std::fclose(file);
  return read == 1 ? static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

struct CoordinatorMetrics::State {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& calls =
      prometheus::BuildCounter()
          .Name("lorikeet_rpc_total")
          .Help("Calls answered, by method and status code")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& call_seconds =
      prometheus::BuildHistogram()
          .Name("lorikeet_rpc_seconds")
          .Help("From a call's arrival to its answer")
          .Register(registry);
  prometheus::Histogram& read_seconds = prometheus::BuildHistogram()
                                            .Name("lorikeet_store_read_seconds")
                                            .Help("To read the fleet's state from the store")
                                            .Register(registry)
                                            .Add({}, kCallSeconds);
  prometheus::Counter& read_errors = prometheus::BuildCounter()
                                         .Name("lorikeet_store_read_errors_total")
                                         .Help("Readings of the fleet's state that failed")
                                         .Register(registry)
                                         .Add({});
  prometheus::Gauge& resident = prometheus::BuildGauge()
                                    .Name("process_resident_memory_bytes")
                                    .Help("Resident memory of the coordinator")
                                    .Register(registry)
                                    .Add({});
};

CoordinatorMetrics::CoordinatorMetrics() : state_(std::make_unique<State>()) {
  prometheus::BuildGauge()
      .Name("process_start_time_seconds")
      .Help("When this coordinator started")
      .Register(state_->registry)
      .Add({})
      .Set(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
  prometheus::BuildGauge()
      .Name("lorikeet_build_info")
      .Help("1; the labels say what runs")
      .Register(state_->registry)
      .Add({{"version", LORIKEET_VERSION}, {"compiler", __VERSION__}})
      .Set(1);
}

CoordinatorMetrics::~CoordinatorMetrics() = default;

void CoordinatorMetrics::OnCall(std::string_view method, absl::StatusCode code,
                                absl::Duration took) {
  // gRPC dispatches registered methods only, so that both labels have few values.
  const std::string name(method);
  state_->calls.Add({{"method", name}, {"code", absl::StatusCodeToString(code)}}).Increment();
  state_->call_seconds.Add({{"method", name}}, kCallSeconds).Observe(absl::ToDoubleSeconds(took));
}

void CoordinatorMetrics::OnStoreRead(absl::Duration took, bool ok) {
  state_->read_seconds.Observe(absl::ToDoubleSeconds(took));
  if (!ok) state_->read_errors.Increment();
}

std::string CoordinatorMetrics::Render(const FleetView* view) const {
  state_->resident.Set(ResidentBytes());
  std::vector<prometheus::MetricFamily> families = state_->registry.Collect();
  if (view != nullptr) {
    std::vector<prometheus::MetricFamily> fleet = FleetFamilies(*view);
    std::move(fleet.begin(), fleet.end(), std::back_inserter(families));
  }
  // Says itself whether the fleet's numbers are there: without them, alerts on them are silent.
  prometheus::MetricFamily readable{.name = "lorikeet_store_up",
                                    .help = "1 if the store could be read for this answer",
                                    .type = prometheus::MetricType::Gauge,
                                    .metric = {prometheus::ClientMetric()}};
  readable.metric[0].gauge.value = view != nullptr ? 1 : 0;
  families.push_back(std::move(readable));
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace lorikeet
