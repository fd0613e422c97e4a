#include "common/cli/program.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <utility>

#include "common/base/plain_text.h"
#include "common/base/shrink_guard.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr char kUsagePayload[] = "lorikeet.usage";

std::atomic<int> stop_signal{0};  // 0: none yet
static_assert(std::atomic<int>::is_always_lock_free, "used in a signal handler");

void OnStopSignal(int signal_number) {
  if (stop_signal.exchange(signal_number) != 0) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);
  }
}

void WriteAll(std::string_view bytes) { std::fwrite(bytes.data(), 1, bytes.size(), stdout); }

// One line whatever the message holds, without controls of terminals: errors go to scripts and
// logs, and repeat what stood in files of others.
std::string OneLine(std::string_view message) {
  std::string line(message);
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return Printable(line);
}

}  // namespace

void Output::Line(std::string_view line) {
  if (json_) return;
  WriteAll(Printable(line));
  WriteAll("\n");
}

void Output::Text(std::string_view text) {
  if (json_) return;
  WriteAll(text);
  std::fflush(stdout);
}

void Output::Raw(std::string_view bytes) { WriteAll(bytes); }

absl::Status UsageError(std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(ToAbsl(message));
  status.SetPayload(kUsagePayload, absl::Cord("1"));
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

bool StopRequested() { return stop_signal.load(std::memory_order_relaxed) != 0; }

bool ForgetInterrupt() {
  int interrupt = SIGINT;
  return stop_signal.compare_exchange_strong(interrupt, 0);
}

void InstallStopHandlers() {
  struct sigaction action = {};
  action.sa_handler = OnStopSignal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

Program::Program(std::string name, std::string description)
    : app_(std::move(description), std::move(name)) {
  app_.require_subcommand(1);
  app_.set_version_flag("--version", "lorikeet 0.1.0");
  app_.set_config("--config", "", "Options from a TOML file: [command] option = value");
  app_.fallthrough();
  app_.add_flag("--json", json_, "Print one JSON document instead of text");
  app_.add_flag("--progress", progress_, "Show progress on stderr even if it is not a terminal");
}

CLI::App* Program::Add(std::string name, std::string help, RunCommand run) {
  return Add(&app_, std::move(name), std::move(help), std::move(run));
}

CLI::App* Program::AddGroup(std::string name, std::string help) {
  CLI::App* group = app_.add_subcommand(std::move(name), std::move(help));
  group->require_subcommand(1);
  group->fallthrough();
  return group;
}

CLI::App* Program::Add(CLI::App* group, std::string name, std::string help, RunCommand run) {
  CLI::App* command = group->add_subcommand(std::move(name), std::move(help));
  command->fallthrough();
  command->callback([this, run = std::move(run)] { chosen_ = run; });
  return command;
}

int Program::Main(int argc, const char* const* argv) {
  InstallStopHandlers();
  InstallShrinkGuard(app_.get_name());
  try {
    app_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app_.exit(error);  // --help, --version
    std::fprintf(stderr, "%s: %s (see --help)\n", app_.get_name().c_str(),
                 OneLine(error.what()).c_str());
    return 2;
  }
  Output output(json_, progress_ || isatty(STDERR_FILENO) == 1);
  absl::Status status;
  try {
    status = chosen_(output);
  } catch (const std::exception& error) {  // libraries may throw; our own code does not
    status = absl::InternalError(error.what());
  }
  if (!status.ok()) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", app_.get_name().c_str(), OneLine(Message(status)).c_str());
    return IsUsageError(status) ? 2 : 1;
  }
  if (json_) {
    WriteAll(output.document().dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    WriteAll("\n");
  }
  if (std::fflush(stdout) != 0) {
    std::fprintf(stderr, "%s: cannot write to standard output\n", app_.get_name().c_str());
    return 1;
  }
  return 0;
}

}  // namespace lorikeet
