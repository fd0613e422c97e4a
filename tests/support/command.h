// A shell command run to its end: how it ended and what it said.  Not for programs that the test
// watches, signals or feeds while they run.
#ifndef LORIKEET_TESTS_SUPPORT_COMMAND_H_
#define LORIKEET_TESTS_SUPPORT_COMMAND_H_

#include <string>

namespace lorikeet {

struct CommandOutcome {
  int code = -1;  // of the shell: 128 + signal where the command was killed
  std::string out;
  std::string err;
};

// Runs `command` in /bin/sh with `input` on its standard input.  Aborts if no process can be made.
CommandOutcome RunCommand(const std::string& command, const std::string& input = "");

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_SUPPORT_COMMAND_H_
