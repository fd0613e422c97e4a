// lorikeet-sim fuzz: random small fleets until a promise breaks.
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "simulations/cli/commands.h"
#include "simulations/scenarios/fuzz.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// "A..B".
absl::Status ParseSeeds(const std::string& text, FuzzOptions* options) {
  const size_t dots = text.find("..");
  if (dots != std::string::npos && absl::SimpleAtoi(text.substr(0, dots), &options->first_seed) &&
      absl::SimpleAtoi(text.substr(dots + 2), &options->last_seed) &&
      options->first_seed <= options->last_seed && options->last_seed < UINT64_MAX) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("fuzz: --seeds: expected A..B with A up to B, got ", text));
}

absl::Status RunFuzz(const std::string& seeds, Output& output) {
  FuzzOptions options;
  RETURN_IF_ERROR(ParseSeeds(seeds, &options));
  options.stop_requested = StopRequested;
  const bool verbose = options.first_seed == options.last_seed;
  options.progress = [&](uint64_t seed, const FleetResult& run) {
    for (const std::string& violation : run.violations) {
      output.Line(absl::StrFormat("seed %d: %s", seed, violation));
    }
    if (verbose) {
      output.Line(DescribeFleet(run.options));
      output.Line(FleetResultToJson(run).dump(2));
    }
  };
  ASSIGN_OR_RETURN(const FuzzResult result, Fuzz(options));
  output.Line(absl::StrFormat(
      "%d fleets, %d of them complete; %d rounds done, %d aborted; %d broken", result.runs,
      result.complete, result.rounds_done, result.rounds_aborted, result.failures.size()));
  json failures = json::array();
  for (const FuzzFailure& failure : result.failures) {
    failures.push_back(
        {{"seed", failure.seed}, {"profile", failure.profile}, {"violations", failure.violations}});
  }
  json document = {{"runs", result.runs},
                   {"complete", result.complete},
                   {"rounds_done", result.rounds_done},
                   {"rounds_aborted", result.rounds_aborted},
                   {"failures", std::move(failures)}};
  if (!result.failures.empty()) {
    if (output.json()) output.Raw(document.dump(2) + "\n");
    const uint64_t seed = result.failures[0].seed;
    return absl::InternalError(absl::StrFormat(
        "expected no broken promise, got one for seed %d (replay: fuzz --seeds %d..%d): %s", seed,
        seed, seed, result.failures[0].violations[0]));
  }
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

}  // namespace

void AddFuzzCommand(Program& program) {
  auto seeds = std::make_shared<std::string>();
  CLI::App* command = program.Add("fuzz", "Search for broken promises in random small fleets",
                                  [seeds](Output& output) { return RunFuzz(*seeds, output); });
  command->add_option("--seeds", *seeds, "A..B; S..S replays one and prints it")->required();
}

}  // namespace lorikeet
