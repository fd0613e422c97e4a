#include "tests/support/command.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// A file without a name, gone with this object: unlike a pipe it never makes the command wait.
class Stream {
 public:
  Stream() : file_(std::tmpfile()) { LORIKEET_CHECK(file_ != nullptr); }
  ~Stream() { std::fclose(file_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int descriptor() const { return fileno(file_); }
  // For the command to read from its beginning.
  void Fill(const std::string& text) {
    LORIKEET_CHECK(std::fwrite(text.data(), 1, text.size(), file_) == text.size());
    LORIKEET_CHECK(std::fflush(file_) == 0);
    std::rewind(file_);
  }
  std::string Content() {
    std::rewind(file_);
    std::string text;
    char buffer[4096];
    size_t count = 0;
    while ((count = std::fread(buffer, 1, sizeof(buffer), file_)) > 0) text.append(buffer, count);
    return text;
  }

 private:
  std::FILE* file_;
};

}  // namespace

CommandOutcome RunCommand(const std::string& command, const std::string& input) {
  Stream in, out, err;
  in.Fill(input);
  posix_spawn_file_actions_t actions;
  LORIKEET_CHECK(posix_spawn_file_actions_init(&actions) == 0);
  posix_spawn_file_actions_adddup2(&actions, in.descriptor(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.descriptor(), STDERR_FILENO);
  std::string shell = "sh", option = "-c", line = command;
  char* const argv[] = {shell.data(), option.data(), line.data(), nullptr};
  pid_t child = 0;
  LORIKEET_CHECK(posix_spawn(&child, "/bin/sh", &actions, nullptr, argv, environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  LORIKEET_CHECK(waitpid(child, &status, 0) == child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out.Content(),
          err.Content()};
}

}  // namespace lorikeet
