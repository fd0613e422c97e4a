// A view of a fleet as Prometheus metric families.  Labels are a task's name, a step, an outcome:
// never a device, and never which persona anybody chose.
#ifndef LORIKEET_COORDINATOR_METRICS_FLEET_FAMILIES_H_
#define LORIKEET_COORDINATOR_METRICS_FLEET_FAMILIES_H_

#include <prometheus/metric_family.h>

#include <vector>

#include "coordinator/dashboard/fleet_view.h"

namespace lorikeet {

std::vector<prometheus::MetricFamily> FleetFamilies(const FleetView& view);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_METRICS_FLEET_FAMILIES_H_
