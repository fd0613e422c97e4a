// lorikeet-sim scale: what secure aggregation costs for a cohort.
#include <memory>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "simulations/cli/commands.h"
#include "simulations/scenarios/protocol_scale.h"

namespace lorikeet {
namespace {

using nlohmann::json;

absl::Status RunScaleCommand(const ScaleOptions& options, Output& output) {
  ASSIGN_OR_RETURN(const ScaleResult result, RunScale(options));
  output.Line(absl::StrFormat(
      "%d devices, %d numbers of %d bits, degree %d, threshold %d: %d survivors, sum error %d",
      options.devices, options.dimension, options.modulus_bits, result.degree, result.threshold,
      result.survivors, result.sum_error));
  json steps = json::array();
  double client = 0, server = 0;
  uint64_t up = 0, down = 0;
  for (const ScaleStep& step : result.steps) {
    output.Line(absl::StrFormat("  %-12s clients %8.3f s, server %8.3f s, %12d bytes up, %12d down",
                                step.name, step.client_seconds, step.server_seconds, step.bytes_up,
                                step.bytes_down));
    steps.push_back({{"step", step.name},
                     {"client_seconds", step.client_seconds},
                     {"server_seconds", step.server_seconds},
                     {"bytes_up", step.bytes_up},
                     {"bytes_down", step.bytes_down}});
    client += step.client_seconds;
    server += step.server_seconds;
    up += step.bytes_up;
    down += step.bytes_down;
  }
  output.SetJson({{"devices", options.devices},
                  {"dimension", options.dimension},
                  {"degree", result.degree},
                  {"threshold", result.threshold},
                  {"survivors", result.survivors},
                  {"sum_error", result.sum_error},
                  {"client_seconds", client},
                  {"server_seconds", server},
                  {"seconds", client + server},
                  {"unmask_wall_seconds", result.unmask_wall_seconds},
                  {"bytes_up", up},
                  {"bytes_down", down},
                  {"steps", std::move(steps)}});
  if (result.sum_error == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("expected an exact sum, got one that is off by %d", result.sum_error));
}

}  // namespace

void AddScaleCommand(Program& program) {
  auto options = std::make_shared<ScaleOptions>();
  CLI::App* command =
      program.Add("scale", "Processor time and bytes of secure aggregation for a cohort",
                  [options](Output& output) { return RunScaleCommand(*options, output); });
  command->add_option("--devices", options->devices, "Cohort")
      ->check(CLI::Range(3, 65536))
      ->capture_default_str();
  command->add_option("--dimension", options->dimension, "Numbers of a contribution")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  command->add_option("--dropout", options->dropout, "Share that falls silent after sharing keys")
      ->check(CLI::Range(0.0, 0.45))
      ->capture_default_str();
  command->add_option("--corrupt", options->corrupt, "Share that the graph withstands")
      ->check(CLI::Range(0.0, 0.45))
      ->capture_default_str();
  command->add_option("--modulus-bits", options->modulus_bits, "Of a masked number")
      ->check(CLI::Range(8, 32))
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Of the server's unmasking (0: all)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of everything random")->capture_default_str();
}

}  // namespace lorikeet
