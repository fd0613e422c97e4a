// lorikeet-sim fleet-report: the HTML report of a run of real processes (deploy/demo).
#ifndef LORIKEET_SIMULATIONS_CLI_FLEET_REPORT_COMMAND_H_
#define LORIKEET_SIMULATIONS_CLI_FLEET_REPORT_COMMAND_H_

#include "common/cli/program.h"

namespace lorikeet {

void AddFleetReportCommand(Program& program);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_CLI_FLEET_REPORT_COMMAND_H_
