// `lorikeet personalize --report FILE [--prompt P]...`: the owner's page.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZE_REPORT_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZE_REPORT_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "device/cli/engine.h"
#include "device/personalization/personal_report.h"
#include "device/personalization/personalizer.h"

namespace lorikeet {

struct ReportOptions {
  std::string path;  // empty: no report
  std::vector<std::string> prompts;

  void Declare(CLI::App* command);
};

// To be asked before any work: a usage error for --prompt without --report, else as CheckWritable.
absl::Status CheckReportOptions(const ReportOptions& options);

// What the page is made from, besides the samples, which are written here.  Borrowed; all required.
struct ReportSource {
  const Engine* engine = nullptr;
  const OwnerText* text = nullptr;
  const PersonalizeOptions* options = nullptr;
};

// Fills in samples, time and bytes written (of report->adapter_path, which lies there already), and
// writes the page; nothing without a path.
// REQUIRES: report->catalog and report->result.
absl::Status WriteReport(const ReportOptions& options, const ReportSource& source,
                         PersonalReport* report);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZE_REPORT_H_
