// lorikeet-coordinator: runs a fleet's coordinator and administers it.
#include "common/wire/tls_teardown.h"
#include "coordinator/admin/commands.h"

int main(int argc, char** argv) {
  lorikeet::KeepTlsTablesAtExit();  // `serve` makes certificates before it listens
  lorikeet::Program program("lorikeet-coordinator",
                            "Improves a fleet's personas without seeing a text or an adapter.");
  lorikeet::AddInitCommand(program);
  lorikeet::AddServeCommand(program);
  lorikeet::AddPublishCommand(program);
  lorikeet::AddTaskCommands(program);
  lorikeet::AddRoundCommands(program);
  lorikeet::AddDeviceCommands(program);
  lorikeet::AddRootCommands(program);
  lorikeet::AddLedgerCommand(program);
  lorikeet::AddDeltaCommand(program);
  lorikeet::AddVerifyReleaseCommand(program);
  return program.Main(argc, argv);
}
