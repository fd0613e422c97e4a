// lorikeet persona keygen|sign|verify|install: who made a catalog, and taking a new one into use.
#ifndef LORIKEET_DEVICE_CLI_PERSONA_TRUST_COMMAND_H_
#define LORIKEET_DEVICE_CLI_PERSONA_TRUST_COMMAND_H_

#include "common/cli/program.h"

namespace lorikeet {

// Adds them to the group "persona".
void AddPersonaTrustCommands(Program& program, CLI::App* group);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONA_TRUST_COMMAND_H_
