// Commands of lorikeet-sim, one file each.
#ifndef LORIKEET_SIMULATIONS_CLI_COMMANDS_H_
#define LORIKEET_SIMULATIONS_CLI_COMMANDS_H_

#include "common/cli/program.h"

namespace lorikeet {

void AddAuditCommand(Program& program);
void AddRetrievalCommand(Program& program);
void AddRunCommand(Program& program);
void AddFuzzCommand(Program& program);
void AddScaleCommand(Program& program);
void AddParametersCommand(Program& program);
void AddPeopleCommand(Program& program);
void AddSelectionCommand(Program& program);
void AddWarmStartCommand(Program& program);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_CLI_COMMANDS_H_
