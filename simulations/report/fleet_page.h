// The report of a fleet run: one HTML page that needs nothing else, and a table for the terminal.
#ifndef LORIKEET_SIMULATIONS_REPORT_FLEET_PAGE_H_
#define LORIKEET_SIMULATIONS_REPORT_FLEET_PAGE_H_

#include <string>

#include "simulations/report/fleet_data.h"

namespace lorikeet {

// A whole HTML document.
std::string FleetPage(const FleetRun& run);

// The last table of the page in fixed columns: device, persona, losses, kept, reason.
std::string FleetTable(const FleetRun& run);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_REPORT_FLEET_PAGE_H_
