// lorikeet-sim warm-start: what a warm start saves, selection included.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/cli/progress.h"
#include "simulations/cli/commands.h"
#include "simulations/people/lab.h"
#include "simulations/people/texts.h"
#include "simulations/people/warm_start.h"
#include "simulations/people/warm_start_analysis.h"

namespace lorikeet {
namespace {

struct WarmStartArguments {
  std::string model;
  std::string report;
  std::string blend = "owner";
  std::vector<int> similarities = {30, 50, 70, 80, 90};  // %
  SelectionTextOptions texts;
  WarmStartOptions options;
  bool no_examples = false;
  bool quick = false;
};

std::string DemoData() { return std::string(LORIKEET_SOURCE_DIR) + "/deploy/demo_data"; }

// Whether all of it works, not how well.
void MakeQuick(WarmStartArguments* arguments) {
  arguments->texts.personas = 2;
  arguments->texts.seed_documents = 24;
  arguments->similarities = {50, 90};
  arguments->options.trials = 2;
  arguments->options.examples = 10;
  arguments->options.held_out = 10;
  arguments->options.catalog.persona_steps = 8;
  arguments->options.personalize.train.max_steps = 8;
}

absl::Status WriteReports(const WarmStartReport& report, const std::string& directory,
                          Output& output) {
  RETURN_IF_ERROR(MakeDirs(directory));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/warm-start.html", WarmStartPage(report)));
  RETURN_IF_ERROR(
      WriteFileAtomic(directory + "/warm-start.json", WarmStartJson(report).dump(1) + "\n"));
  output.Line(absl::StrCat("report: ", directory, "/warm-start.html"));
  return absl::OkStatus();
}

absl::Status RunWarmStartCommand(const WarmStartArguments& given, Output& output) {
  WarmStartArguments arguments = given;
  if (arguments.quick) MakeQuick(&arguments);
  WarmStartOptions& options = arguments.options;
  options.blend_personas = arguments.blend == "persona";
  options.examples_needed = !arguments.no_examples;
  options.similarities.clear();
  for (const int percent : arguments.similarities) options.similarities.push_back(percent / 100.0);
  arguments.texts.demo = DemoData();
  arguments.texts.seed = options.seed;
  if (arguments.model.empty()) arguments.model = DemoData() + "/finch-7m-q8_0.gguf";
  ASSIGN_OR_RETURN(SelectionTexts texts, ReadSelectionTexts(arguments.texts));
  DropRepeats(&texts);
  ASSIGN_OR_RETURN(const Lab lab, Lab::Open(arguments.model));
  WarmStartReport report;
  report.model = arguments.model;
  report.source = texts.name;
  report.options = options;
  {
    ProgressLine line(output.progress(), "warm-start");
    const LabProgress progress = [&](int done, int total, std::string_view what) {
      line.Update(done, total, what);
      return !StopRequested();
    };
    ASSIGN_OR_RETURN(report.trials, RunWarmStart(lab, texts, options, progress));
  }
  Analyze(&report);
  output.Text(WarmStartTable(report));
  output.SetJson(WarmStartJson(report));
  return arguments.report.empty() ? absl::OkStatus()
                                  : WriteReports(report, arguments.report, output);
}

}  // namespace

void AddWarmStartCommand(Program& program) {
  auto arguments = std::make_shared<WarmStartArguments>();
  CLI::App* command =
      program.Add("warm-start", "What a warm start from a persona saves, selection included",
                  [arguments](Output& output) { return RunWarmStartCommand(*arguments, output); });
  WarmStartOptions& options = arguments->options;
  command->add_option("--model", arguments->model, "Base model (default: the demo's)");
  command->add_option("--data", arguments->texts.data,
                      "samples.jsonl whose largest users are the personas "
                      "(default: 28 synthetic "
                      "styles)");
  command->add_flag("--other-work", arguments->texts.other_work,
                    "Owners' text also from lines of split test_other_work");
  command->add_option("--neutral", arguments->texts.neutral,
                      "Neutral text, entries between blank lines (default: the styles' grammar "
                      "without style; with --data the demo's public text)");
  command->add_option("--catalog", options.catalog.path, "Read if there, else made and kept there");
  command->add_option("--personas", arguments->texts.personas, "Personas")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command
      ->add_option("--seed-documents", arguments->texts.seed_documents,
                   "Documents a persona is made from")
      ->check(CLI::Range(4, 100000))
      ->capture_default_str();
  command
      ->add_option("--held-out-documents", arguments->texts.held_out_documents,
                   "Documents of a persona's style that owners' text is drawn from")
      ->check(CLI::Range(4, 100000))
      ->capture_default_str();
  command
      ->add_option("--document-bytes", arguments->texts.max_document_bytes,
                   "Longer documents of --data are cut")
      ->check(CLI::Range(40, 100000))
      ->capture_default_str();
  command->add_option("--similarities", arguments->similarities, "In percent, 30,50,...")
      ->delimiter(',')
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--trials", options.trials, "Of each similarity")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--examples", options.examples, "Pieces of text that an owner has")
      ->check(CLI::Range(3, 10000))
      ->capture_default_str();
  command->add_option("--held-out", options.held_out, "Pieces that measure")
      ->check(CLI::Range(2, 10000))
      ->capture_default_str();
  command->add_option("--blend", arguments->blend, "Whose text is blended: owner or persona")
      ->check(CLI::IsMember({"owner", "persona"}))
      ->capture_default_str();
  command->add_flag("--no-examples", arguments->no_examples, "Do not look for the fewest examples");
  command->add_flag("--quick", arguments->quick, "Under a minute");
  command->add_option("--seed", options.seed, "Of everything random")->capture_default_str();
  command->add_option("--report", arguments->report, "Folder for warm-start.html and .json");
}

}  // namespace lorikeet
