// One command-line program with subcommands, as COMMANDS promises it.
//
// Human-readable output on stdout, or one JSON document with --json; progress on stderr when that
// is a terminal (or
// --progress); options also from a TOML file (--config); exit 0 on success, 2 for bad usage, 1 for
// everything else with one line on stderr; the first Ctrl-C or SIGTERM asks to stop
// (StopRequested), the second ends at once.
//
//   Program program("lorikeet", "Personal language models that stay personal.");
//   auto options = std::make_shared<InspectOptions>();
//   CLI::App* command = program.Add("inspect", "What is in a GGUF file",
//                                   [options](Output& out) { return RunInspect(*options, out); });
//   command->add_option("file", options->file, "GGUF file")->required();
//   return program.Main(argc, argv);
#ifndef LORIKEET_COMMON_CLI_PROGRAM_H_
#define LORIKEET_COMMON_CLI_PROGRAM_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lorikeet {

// Where a command writes.  Not thread-safe.
class Output {
 public:
  Output(bool json, bool progress) : json_(json), progress_(progress) {}

  bool json() const { return json_; }
  // True if a progress line is wanted.
  bool progress() const { return progress_; }

  // Human-readable text to stdout, controls as '?', a newline added; nothing with --json.
  void Line(std::string_view line);
  // The same without a newline, flushed at once (streams of generated text).
  void Text(std::string_view text);
  // Raw bytes to stdout, --json or not (for commands whose output is data).
  void Raw(std::string_view bytes);
  // The document printed at the end with --json; nothing without.
  void SetJson(nlohmann::json document) { document_ = std::move(document); }
  const nlohmann::json& document() const { return document_; }

 private:
  bool json_;
  bool progress_;
  nlohmann::json document_;
};

using RunCommand = std::function<absl::Status(Output&)>;

class Program {
 public:
  Program(std::string name, std::string description);

  // A subcommand; `run` is called when it was chosen and its options are parsed.
  CLI::App* Add(std::string name, std::string help, RunCommand run);
  // A group of subcommands ("vault add", "vault list"): make the group, then add to it.
  CLI::App* AddGroup(std::string name, std::string help);
  CLI::App* Add(CLI::App* group, std::string name, std::string help, RunCommand run);

  // Parses, runs, prints; the exit code.  JSON output is never printed after an error.
  int Main(int argc, const char* const* argv);

 private:
  CLI::App app_;
  RunCommand chosen_;
  bool json_ = false;
  bool progress_ = false;
};

// An error of usage (exit code 2) found after parsing: options that contradict each other, a value
// out of range.
absl::Status UsageError(std::string_view message);
bool IsUsageError(const absl::Status& status);

// True after the first SIGINT or SIGTERM.  Async-signal-safe flag; long work checks it.
bool StopRequested();
// For conversations, where Ctrl-C ends a reply and not the program: after a SIGINT, and only then,
// StopRequested is false again.  Returns whether there was one.
bool ForgetInterrupt();
// Installs the handlers (Main does).
void InstallStopHandlers();

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CLI_PROGRAM_H_
