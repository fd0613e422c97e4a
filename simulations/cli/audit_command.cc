// lorikeet-sim audit: an empirical lower bound on epsilon for the contribution pipeline.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "simulations/audit/audit_report.h"
#include "simulations/cli/commands.h"

namespace lorikeet {
namespace {

struct AuditArguments {
  AuditOptions options;
  std::vector<std::string> builds;
  std::string report;
};

std::vector<AuditedBuild> ChosenBuilds(const AuditArguments& arguments) {
  std::vector<AuditedBuild> builds;
  for (const AuditedBuild build : kAuditedBuilds) {
    const auto& names = arguments.builds;
    if (names.empty() || std::ranges::find(names, AuditedBuildName(build)) != names.end()) {
      builds.push_back(build);
    }
  }
  return builds;
}

// A faithful build that is refuted, or a broken one that is not.
absl::Status Judge(const std::vector<AuditResult>& results) {
  for (const AuditResult& result : results) {
    if (result.Refuted() == (result.build != AuditedBuild::kFaithful)) continue;
    if (result.Refuted()) {
      return absl::InternalError(
          absl::StrFormat("expected epsilon of at most %g, the audit shows at least %g",
                          result.stated_epsilon, result.EpsilonBound()));
    }
    return absl::FailedPreconditionError(absl::StrFormat(
        "the audit is too small to notice %s (bound %g, stated %g): use more canaries",
        ToAbsl(AuditedBuildName(result.build)), result.EpsilonBound(), result.stated_epsilon));
  }
  return absl::OkStatus();
}

absl::Status RunAudit(const AuditArguments& arguments, Output& output) {
  std::vector<AuditResult> results;
  for (const AuditedBuild build : ChosenBuilds(arguments)) {
    int rounds = 0;
    ASSIGN_OR_RETURN(
        results.emplace_back(), AuditPipeline(build, arguments.options, [&] {
          if (output.progress() && ++rounds % 100 == 0) {
            std::fputs(absl::StrCat("\r", ToAbsl(AuditedBuildName(build)), ": round ", rounds, "  ")
                           .c_str(),
                       stderr);
          }
          return !StopRequested();
        }));
    if (output.progress()) std::fputs("\n", stderr);
  }
  output.Text(AuditTable(results, arguments.options));
  output.SetJson(AuditToJson(results, arguments.options));
  if (!arguments.report.empty()) {
    RETURN_IF_ERROR(MakeDirs(arguments.report));
    RETURN_IF_ERROR(
        WriteFileAtomic(arguments.report + "/report.html", AuditPage(results, arguments.options)));
  }
  return Judge(results);
}

}  // namespace

void AddAuditCommand(Program& program) {
  auto arguments = std::make_shared<AuditArguments>();
  CLI::App* command = program.Add(
      "audit", "Lower bound on epsilon by canaries in the whole pipeline, and in broken builds",
      [arguments](Output& output) { return RunAudit(*arguments, output); });
  std::vector<std::string> names;
  for (const AuditedBuild build : kAuditedBuilds) names.emplace_back(AuditedBuildName(build));
  AuditOptions& options = arguments->options;
  command->add_option("--build", arguments->builds, "Builds to audit (default: all)")
      ->check(CLI::IsMember(names));
  command->add_option("--canaries", options.canaries, "Devices in all rounds together")
      ->check(CLI::Range(100, 1 << 24))
      ->capture_default_str();
  command->add_option("--cohort", options.cohort, "Devices of a round")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  command->add_option("--dimension", options.dimension, "Numbers of a contribution")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--noise-multiplier", options.noise_multiplier, "As stated")
      ->check(CLI::Range(0.05, 100.0))
      ->capture_default_str();
  command->add_option("--delta", options.delta, "As stated")
      ->check(CLI::Range(1e-12, 0.5))
      ->capture_default_str();
  command->add_option("--guessed", options.guessed, "Share of the canaries to guess about")
      ->check(CLI::Range(0.0001, 1.0))
      ->capture_default_str();
  command->add_option("--confidence", options.confidence, "Of each bound")
      ->check(CLI::Range(0.5, 0.999999))
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of everything random")->capture_default_str();
  command->add_option("--report", arguments->report, "Folder for report.html");
}

}  // namespace lorikeet
