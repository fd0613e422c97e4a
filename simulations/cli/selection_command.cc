// lorikeet-sim selection: how often the right persona is chosen, and what choosing costs.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/catalog_builder.h"
#include "simulations/cli/commands.h"
#include "simulations/selection/experiment.h"
#include "simulations/selection/experiment_report.h"

namespace lorikeet {
namespace {

struct SelectionArguments {
  ExperimentOptions experiment;
  std::string model;
  std::string blend = "owner";
  std::string report;
  std::vector<int> similarities = {30, 50, 70, 80, 90};  // %
  int threads = 0;
  bool quick = false;
  bool no_exhaustive = false;
  bool no_cost = false;
  bool no_axes = false;
};

std::string DemoData() { return std::string(LORIKEET_SOURCE_DIR) + "/deploy/demo_data"; }

// Few personas, short text, few steps: whether all of it works, not how well.
void MakeQuick(ExperimentOptions* options) {
  options->texts.personas = std::min(options->texts.personas, 6);
  options->texts.seed_documents = 24;
  options->texts.held_out_documents = 20;
  options->texts.neutral_documents = 24;
  options->trials = std::min(options->trials, 3);
  options->stranger_trials = 20;
  options->examples = {5, 20};
  options->catalog.training.train.max_steps = 8;
  options->catalog.basis.text.max_tokens = 1500;
  options->costs.pools = {3, 6, 12};
  options->costs.examples = {20};
  options->costs.owners = 1;
  options->costs.repeats = 1;
}

SelectionProgress ProgressLine(const Output& output) {
  const bool show = output.progress();
  return [show](std::string_view stage, int64_t done, int64_t total) {
    if (show) {
      std::fprintf(stderr, "\r\033[K%.*s %lld/%lld", static_cast<int>(stage.size()), stage.data(),
                   static_cast<long long>(done), static_cast<long long>(total));
    }
    return !StopRequested();
  };
}

absl::Status FillOptions(const SelectionArguments& arguments, ExperimentOptions* options) {
  options->texts.demo = DemoData();
  options->texts.seed = options->seed;
  options->blend = arguments.blend == "persona" ? BlendProtocol::kPersona : BlendProtocol::kOwner;
  options->exhaustive = !arguments.no_exhaustive;
  options->cost = !arguments.no_cost;
  if (arguments.no_axes) options->catalog.basis.axes.axes.clear();
  options->similarities.clear();
  for (int percent : arguments.similarities) options->similarities.push_back(percent / 100.0);
  if (arguments.quick) MakeQuick(options);
  if (options->texts.data.empty() && options->texts.other_work) {
    return UsageError("selection: --other-work needs --data");
  }
  return absl::OkStatus();
}

absl::Status WriteReports(const ExperimentOptions& options, const ExperimentResult& result,
                          const std::string& directory, Output& output) {
  RETURN_IF_ERROR(MakeDirs(directory));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/report.html", ExperimentPage(options, result)));
  RETURN_IF_ERROR(
      WriteFileAtomic(directory + "/results.json", ExperimentJson(options, result).dump(1) + "\n"));
  output.Line(
      absl::StrCat("\nreport: ", directory, "/report.html\nnumbers: ", directory, "/results.json"));
  return absl::OkStatus();
}

absl::Status RunSelectionCommand(const SelectionArguments& arguments, Output& output) {
  ExperimentOptions options = arguments.experiment;
  RETURN_IF_ERROR(FillOptions(arguments, &options));
  const std::string path =
      arguments.model.empty() ? DemoData() + "/finch-7m-q8_0.gguf" : arguments.model;
  ASSIGN_OR_RETURN(const std::shared_ptr<const Model> model, Model::Load(path));
  ThreadPool pool(arguments.threads);
  auto result = RunExperiment(model, &pool, options, ProgressLine(output));
  if (output.progress()) std::fputs("\n", stderr);
  RETURN_IF_ERROR(result.status());
  for (const std::string& line : ExperimentLines(options, *result)) output.Line(line);
  output.SetJson(ExperimentJson(options, *result));
  if (arguments.report.empty()) return absl::OkStatus();
  return WriteReports(options, *result, arguments.report, output);
}

void AddTextOptions(CLI::App* command, SelectionTextOptions* texts) {
  command->add_option("--data", texts->data,
                      "samples.jsonl whose largest users are the personas (default: 28 synthetic "
                      "styles)");
  command->add_flag("--other-work", texts->other_work,
                    "Owners' text also from lines of split test_other_work");
  command->add_option(
      "--neutral", texts->neutral,
      "Neutral text, entries between blank lines (default: the same grammar without "
      "style; with --data the demo's public text)");
  command->add_option("--strangers", texts->strangers,
                      "samples.jsonl of another set (default: the demo's people)");
  command->add_option("--personas", texts->personas, "Personas")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--seed-documents", texts->seed_documents, "Documents a persona is made from")
      ->check(CLI::Range(4, 100000))
      ->capture_default_str();
  command
      ->add_option("--held-out-documents", texts->held_out_documents,
                   "Documents of which an owner's examples are drawn")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command
      ->add_option("--document-bytes", texts->max_document_bytes,
                   "Longer documents of --data are cut")
      ->check(CLI::Range(40, 100000))
      ->capture_default_str();
}

void AddTrialOptions(CLI::App* command, SelectionArguments* arguments) {
  ExperimentOptions& options = arguments->experiment;
  command
      ->add_option("--blend", arguments->blend,
                   "What is blended with neutral text: the owner's text, or, as XPerT does, the "
                   "personas'")
      ->check(CLI::IsMember({"owner", "persona"}))
      ->capture_default_str();
  command->add_option("--trials", options.trials, "Trials of a persona")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--stranger-trials", options.stranger_trials, "Trials of a kind of stranger")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--examples", options.examples, "Numbers of examples, 5,10,...")
      ->delimiter(',')
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--similarities", arguments->similarities, "In percent, 30,50,...")
      ->delimiter(',')
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of everything random")->capture_default_str();
}

}  // namespace

void AddSelectionCommand(Program& program) {
  auto arguments = std::make_shared<SelectionArguments>();
  ExperimentOptions& options = arguments->experiment;
  options.catalog.training.train = DefaultPersonaTraining();
  CLI::App* command = program.Add(
      "selection", "How often the right persona is chosen, against baselines, and what it costs",
      [arguments](Output& output) { return RunSelectionCommand(*arguments, output); });
  command->add_option("--model", arguments->model, "Base model (default: the demo's)");
  AddTextOptions(command, &options.texts);
  AddTrialOptions(command, arguments.get());
  command->add_option("--catalog", options.catalog.path,
                      "Catalog to use, or to make and keep; with --blend persona one a similarity, "
                      "FILE.30 and so on");
  command
      ->add_option("--steps", options.catalog.training.train.max_steps,
                   "Steps of each persona made; 0: by epochs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--epochs", options.catalog.training.train.epochs, "Passes over seed text")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag(
      "--no-exhaustive", arguments->no_exhaustive,
      "Leave out the evaluation of every persona on every document (most of the time)");
  command->add_flag("--no-cost", arguments->no_cost, "Leave out the cost");
  command->add_flag("--no-axes", arguments->no_axes,
                    "A catalog without explanation axes: selection by style and loss alone");
  command->add_flag("--quick", arguments->quick,
                    "Six personas and three trials: whether it works, not how well");
  command->add_option("--threads", arguments->threads, "0: all cores")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  command->add_option("--report", arguments->report, "Folder for report.html and results.json");
}

}  // namespace lorikeet
