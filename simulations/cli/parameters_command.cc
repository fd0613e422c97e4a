// lorikeet-sim parameters: degree and threshold of the aggregation graph.
#include <memory>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/secagg/parameters.h"
#include "simulations/cli/commands.h"

namespace lorikeet {
namespace {

absl::Status RunParameters(const GraphRequest& request, Output& output) {
  ASSIGN_OR_RETURN(const GraphParameters graph, ChooseGraph(request));
  output.Line(absl::StrFormat("%d clients, %g corrupt, %g dropping out%s: degree %d, threshold %d",
                              request.clients, request.corrupt_fraction, request.dropout_fraction,
                              request.semi_malicious ? ", a server that may lie" : "", graph.degree,
                              graph.threshold));
  if (request.clients < 100) {
    output.Line("  (rounds of fewer than 100 clients use the complete graph instead)");
  }
  output.SetJson({{"clients", request.clients},
                  {"corrupt", request.corrupt_fraction},
                  {"dropout", request.dropout_fraction},
                  {"semi_malicious", request.semi_malicious},
                  {"degree", graph.degree},
                  {"threshold", graph.threshold}});
  return absl::OkStatus();
}

}  // namespace

void AddParametersCommand(Program& program) {
  auto request = std::make_shared<GraphRequest>();
  request->semi_malicious = false;
  CLI::App* command =
      program.Add("parameters", "Degree and threshold of the secure aggregation graph",
                  [request](Output& output) { return RunParameters(*request, output); });
  command->add_option("--clients", request->clients, "Cohort")
      ->required()
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}));
  command->add_option("--corrupt", request->corrupt_fraction, "Share of corrupt clients")
      ->required()
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--dropout", request->dropout_fraction, "Share that drops out")
      ->required()
      ->check(CLI::Range(0.0, 1.0));
  command->add_flag("--semi-malicious", request->semi_malicious,
                    "Against a server that lies about who dropped out");
}

}  // namespace lorikeet
