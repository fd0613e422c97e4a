#include "simulations/cli/fleet_report_command.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "simulations/report/fleet_data.h"
#include "simulations/report/fleet_page.h"

namespace lorikeet {
namespace {

struct FleetReportArguments {
  std::string directory;
  std::string out;
};

nlohmann::json FleetJson(const FleetRun& run) {
  nlohmann::json devices = nlohmann::json::array(), rounds = nlohmann::json::array();
  for (const FleetDevice& device : run.devices) {
    const FleetChoice& last = device.choices.back();
    devices.push_back({{"device", device.name},
                       {"persona", last.chosen},
                       {"loss_base", last.loss_base},
                       {"loss_persona", last.loss_persona},
                       {"loss_in_use", last.LossInUse()},
                       {"outcome", last.outcome}});
  }
  for (const FleetRound& round : run.rounds) {
    rounds.push_back({{"number", round.number},
                      {"survivors", round.survivors},
                      {"seconds", round.seconds},
                      {"epsilon", round.epsilon}});
  }
  return {{"devices", devices},
          {"rounds", rounds},
          {"epsilon", run.epsilon_spent},
          {"demonstration", run.demonstration}};
}

absl::Status RunFleetReport(const FleetReportArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const FleetRun run, ReadFleetRun(arguments.directory));
  RETURN_IF_ERROR(WriteFileAtomic(arguments.out, FleetPage(run)));
  output.Text(FleetTable(run));
  output.SetJson(FleetJson(run));
  return absl::OkStatus();
}

}  // namespace

void AddFleetReportCommand(Program& program) {
  auto arguments = std::make_shared<FleetReportArguments>();
  CLI::App* command =
      program.Add("fleet-report", "Report of a run of real processes, as deploy/demo leaves it",
                  [arguments](Output& output) { return RunFleetReport(*arguments, output); });
  command->add_option("--dir", arguments->directory, "Directory of the run")->required();
  command->add_option("--out", arguments->out, "HTML file to write")->required();
}

}  // namespace lorikeet
