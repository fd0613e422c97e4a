// lorikeet: runtime, trainer, personalization, agent and model tools as subcommands.
#include "device/cli/command.h"

int main(int argc, char** argv) {
  lorikeet::Program program("lorikeet", "Personal language models that stay personal.");
  lorikeet::AddInspectCommand(program);
  lorikeet::AddTokenizeCommand(program);
  lorikeet::AddDetokenizeCommand(program);
  lorikeet::AddGenerateCommand(program);
  lorikeet::AddChatCommand(program);
  lorikeet::AddFinetuneCommand(program);
  lorikeet::AddGradientsCommand(program);
  lorikeet::AddLogitsCommand(program);
  lorikeet::AddPerplexityCommand(program);
  lorikeet::AddBenchCommand(program);
  lorikeet::AddQuantizeCommand(program);
  lorikeet::AddMakeRandomCommand(program);
  lorikeet::AddMergeCommand(program);
  lorikeet::AddExportCommand(program);
  lorikeet::AddVaultCommands(program);
  lorikeet::AddPersonaCommands(program);
  lorikeet::AddSelectCommand(program);
  lorikeet::AddPersonalizeCommand(program);
  lorikeet::AddPrivacyCommands(program);
  lorikeet::AddAgentCommand(program);
  return program.Main(argc, argv);
}
