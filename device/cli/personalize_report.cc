#include "device/cli/personalize_report.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "common/base/atomic_file.h"
#include "common/base/status_macros.h"
#include "common/cli/program.h"

namespace lorikeet {
namespace {

constexpr int kPassages = 3;

absl::StatusOr<std::vector<Beginning>> Beginnings(const std::vector<std::string>& prompts,
                                                  const Model& model, const ReportSource& source) {
  std::vector<Beginning> beginnings;
  for (const std::string& prompt : prompts) {
    ASSIGN_OR_RETURN(beginnings.emplace_back(), BeginningOfPrompt(model, prompt));
  }
  if (!beginnings.empty()) return beginnings;
  ASSIGN_OR_RETURN(const TextSplit split, SplitText(model, *source.text, source.options->split));
  return BeginningsOf(model, split.judge, kPassages);
}

absl::StatusOr<std::vector<WritingSample>> Samples(const std::vector<std::string>& prompts,
                                                   const ReportSource& source,
                                                   const PersonalReport& report) {
  const auto& model = source.engine->model();
  ASSIGN_OR_RETURN(const std::vector<Beginning> beginnings, Beginnings(prompts, *model, source));
  const Selection& selection = report.result->selection;
  const Adapter& residual = report.result->training.adapter;
  std::optional<Adapter> persona;
  std::vector<std::vector<AdapterRef>> sides = {{}};
  std::vector<AdapterRef> personalized;
  if (!selection.weights.empty()) {
    persona = BlendAdapter(*report.catalog, selection.weights);
    sides.push_back({{.adapter = &*persona, .scale = report.result->persona_scale}});
    personalized = sides.back();
  }
  personalized.push_back({.adapter = &residual});
  sides.push_back(std::move(personalized));
  return WriteSamples(model, source.engine->pool(), beginnings, sides);
}

}  // namespace

void ReportOptions::Declare(CLI::App* command) {
  command->add_option("--report", path,
                      "Page to write (HTML, needs nothing else): what was chosen, learned and "
                      "spent, with samples.  Begins with a selection.  Holds words of the "
                      "owner's; only the owner can read the file");
  command->add_option("--prompt", prompts,
                      "Beginning to go on from in the report; repeatable.  None: beginnings of "
                      "held-out passages");
}

absl::Status CheckReportOptions(const ReportOptions& options) {
  if (options.path.empty()) {
    return options.prompts.empty() ? absl::OkStatus() : UsageError("--prompt goes with --report");
  }
  return CheckWritable(options.path);
}

absl::Status WriteReport(const ReportOptions& options, const ReportSource& source,
                         PersonalReport* report) {
  if (options.path.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(report->samples, Samples(options.prompts, source, *report));
  report->time = absl::Now();
  if (report->result->adapter) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(report->adapter_path, error);
    if (!error) report->bytes_written = static_cast<int64_t>(bytes);
  }
  return WritePersonalReport(*report, options.path);
}

}  // namespace lorikeet
