// lorikeet-sim: many devices and a coordinator in one process, and reports of such runs.
#include "common/cli/program.h"
#include "simulations/cli/fleet_report_command.h"

int main(int argc, char** argv) {
  lorikeet::Program program("lorikeet-sim", "Runs and reports fleets.");
  lorikeet::AddFleetReportCommand(program);
  return program.Main(argc, argv);
}
