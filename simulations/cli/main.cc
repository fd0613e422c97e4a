// lorikeet-sim: many devices and a coordinator in one process, and reports of such runs.
#include <cstdlib>

#include "common/base/log.h"
#include "common/cli/program.h"
#include "simulations/cli/commands.h"
#include "simulations/cli/fleet_report_command.h"

int main(int argc, char** argv) {
  // Simulated coordinators warn at times that are not ours, and of what was asked for.
  if (std::getenv("LORIKEET_LOG") == nullptr) lorikeet::SetLogLevel(lorikeet::LogLevel::kError);
  lorikeet::Program program("lorikeet-sim", "Runs and reports fleets.");
  lorikeet::AddRunCommand(program);
  lorikeet::AddAuditCommand(program);
  lorikeet::AddRetrievalCommand(program);
  lorikeet::AddFuzzCommand(program);
  lorikeet::AddScaleCommand(program);
  lorikeet::AddParametersCommand(program);
  lorikeet::AddSelectionCommand(program);
  lorikeet::AddFleetReportCommand(program);
  lorikeet::AddWarmStartCommand(program);
  lorikeet::AddPeopleCommand(program);
  return program.Main(argc, argv);
}
