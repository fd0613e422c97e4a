// The commands of the program `lorikeet`.  Framework: common/cli/program.h.
//
// A new command: write device/cli/<name>_command.cc with an Add...Command function, declare it
// here, call it in main.cc, list the file in CMakeLists.txt.
#ifndef LORIKEET_DEVICE_CLI_COMMAND_H_
#define LORIKEET_DEVICE_CLI_COMMAND_H_

#include "common/cli/program.h"

namespace lorikeet {

void AddAgentCommand(Program& program);
void AddBenchCommand(Program& program);
void AddChatCommand(Program& program);
void AddDetokenizeCommand(Program& program);
void AddExportCommand(Program& program);
void AddFinetuneCommand(Program& program);
void AddGenerateCommand(Program& program);
void AddGradientsCommand(Program& program);
void AddInspectCommand(Program& program);
void AddLogitsCommand(Program& program);
void AddMakeRandomCommand(Program& program);
void AddMergeCommand(Program& program);
void AddPerplexityCommand(Program& program);
void AddPersonaCommands(Program& program);
void AddPersonalizeCommand(Program& program);
void AddPrivacyCommands(Program& program);
void AddQuantizeCommand(Program& program);
void AddSelectCommand(Program& program);
void AddTokenizeCommand(Program& program);
void AddVaultCommands(Program& program);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_COMMAND_H_
