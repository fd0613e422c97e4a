// lorikeet: runtime, trainer, personalization, agent and model tools as subcommands.
#include "device/cli/command.h"

int main(int argc, char** argv) {
  lorikeet::Program program("lorikeet", "Personal language models that stay personal.");
  lorikeet::AddVaultCommands(program);
  return program.Main(argc, argv);
}
