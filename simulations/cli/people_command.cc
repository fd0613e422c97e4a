// lorikeet-sim people: whether personalizing helps real people.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/cli/progress.h"
#include "simulations/cli/commands.h"
#include "simulations/people/people.h"
#include "simulations/people/people_report.h"

namespace lorikeet {
namespace {

struct PeopleArguments {
  std::string model;
  std::string data;
  std::string neutral;
  std::string report;
  PeopleOptions options;
  bool quick = false;
};

// Whether all of it works, not how well.
void MakeQuick(PeopleArguments* arguments) {
  PeopleOptions& options = arguments->options;
  options.users = std::min(options.users, 3);
  options.personas = 2;
  options.seed_bytes = 6000;
  options.max_train_bytes = 4000;
  options.max_test_bytes = 2000;
  options.general_bytes = 2000;
  options.catalog.persona_steps = 8;
  options.personalize.train.max_steps = 8;
}

// ".../authors/samples.jsonl" -> "authors".
std::string NameOfSet(const std::string& path) {
  const std::filesystem::path file(path);
  const std::string folder = file.parent_path().filename().string();
  return folder.empty() ? file.filename().string() : folder;
}

absl::Status WriteReports(const PeopleReport& report, const std::string& directory,
                          Output& output) {
  RETURN_IF_ERROR(MakeDirs(directory));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/people.html", PeoplePage(report)));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/people.json", PeopleJson(report).dump(1) + "\n"));
  output.Line(absl::StrCat("report: ", directory, "/people.html"));
  return absl::OkStatus();
}

absl::Status RunPeopleCommand(const PeopleArguments& given, Output& output) {
  PeopleArguments arguments = given;
  if (arguments.quick) MakeQuick(&arguments);
  const std::string demo = std::string(LORIKEET_SOURCE_DIR) + "/deploy/demo_data";
  if (arguments.model.empty()) arguments.model = demo + "/finch-7m-q8_0.gguf";
  if (arguments.neutral.empty()) arguments.neutral = demo + "/public.txt";
  ASSIGN_OR_RETURN(std::vector<UserText> users, ReadUsers(arguments.data));
  ASSIGN_OR_RETURN(const std::string neutral, ReadFile(arguments.neutral));
  const std::vector<std::string> documents =
      absl::StrSplit(neutral, "\n\n", absl::SkipWhitespace());
  ASSIGN_OR_RETURN(const Lab lab, Lab::Open(arguments.model));
  PeopleReport report;
  report.model = arguments.model;
  report.data = NameOfSet(arguments.data);
  report.options = arguments.options;
  const Cast cast = ChooseCast(std::move(users), arguments.options);
  {
    ProgressLine line(output.progress(), "people");
    const LabProgress progress = [&](int done, int total, std::string_view what) {
      line.Update(done, total, what);
      return !StopRequested();
    };
    ASSIGN_OR_RETURN(report.people, RunPeople(lab, cast, documents, arguments.options, progress));
  }
  report.summary = Summarize(report.people, arguments.options.seed);
  output.Text(PeopleTable(report));
  output.SetJson(PeopleJson(report));
  return arguments.report.empty() ? absl::OkStatus()
                                  : WriteReports(report, arguments.report, output);
}

}  // namespace

void AddPeopleCommand(Program& program) {
  auto arguments = std::make_shared<PeopleArguments>();
  CLI::App* command =
      program.Add("people", "Whether personalizing helps real people, and harms nobody",
                  [arguments](Output& output) { return RunPeopleCommand(*arguments, output); });
  PeopleOptions& options = arguments->options;
  command->add_option("--model", arguments->model, "Base model (default: the demo's)");
  command
      ->add_option("--data", arguments->data,
                   "samples.jsonl of users: train lines train; the first half "
                   "of the test lines "
                   "judges, the second half is what is reported")
      ->required();
  command->add_option("--neutral", arguments->neutral,
                      "Text of nobody there, entries between blank lines: half for the "
                      "catalog, "
                      "half shows forgetting (default: the demo's public text)");
  command->add_option("--users", options.users, "Users to personalize for; the rest make personas")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--personas", options.personas, "Personas, at most")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--seed-bytes", options.seed_bytes, "Text that a persona is made from")
      ->check(CLI::Range(1000, 10000000))
      ->capture_default_str();
  command->add_option("--max-train-bytes", options.max_train_bytes, "Of a user: the last ones")
      ->check(CLI::Range(800, 10000000))
      ->capture_default_str();
  command->add_option("--max-test-bytes", options.max_test_bytes, "Of a user: the last ones")
      ->check(CLI::Range(600, 10000000))
      ->capture_default_str();
  command->add_option("--catalog", options.catalog.path, "Read if there, else made and kept there");
  command->add_flag("--quick", arguments->quick, "Three users, few steps: whether it works");
  command->add_option("--seed", options.seed, "Of everything random")->capture_default_str();
  command->add_option("--report", arguments->report, "Folder for people.html and people.json");
}

}  // namespace lorikeet
