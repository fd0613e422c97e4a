// lorikeet-sim run: many devices and a coordinator, in virtual time.
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "simulations/cli/commands.h"
#include "simulations/scenarios/fleet_run.h"

namespace lorikeet {
namespace {

struct RunArguments {
  FleetRunOptions fleet;
  std::string faults;
  std::string work = "model";
  std::string transport = "memory";
  std::string report;
};

// What is shipped with the sources, where this program was built from them.
std::string DemoData() { return std::string(LORIKEET_SOURCE_DIR) + "/deploy/demo_data"; }

absl::Status FillModelDefaults(ModelFleetOptions* model) {
  if (model->model.empty()) model->model = DemoData() + "/finch-7m-q8_0.gguf";
  if (!FileExists(model->model)) {
    return UsageError(absl::StrCat("run: expected --model or a model at ", model->model));
  }
  if (model->data.empty()) model->data = DemoData();
  if (model->seeds.empty()) model->seeds = DemoData();
  return absl::OkStatus();
}

void Print(const FleetResult& result, Output& output) {
  output.Line(absl::StrFormat(
      "%d devices, seed %d: %d of %d rounds in %.0f s of virtual time%s", result.devices.size(),
      result.options.seed, result.rounds_done(), result.options.rounds, result.seconds,
      result.demonstration ? " (a demonstration: too few devices for strong privacy)" : ""));
  for (const RoundResult& round : result.rounds) {
    output.Line(absl::StrFormat(
        "  round %d: %s, %d survivors, sum error %d, epsilon so far %.3f, %d bytes up, %d down, "
        "%.1f s",
        round.number, round.message.empty() ? round.status : round.message, round.survivors,
        round.sum_error, round.epsilon_total, round.bytes_up, round.bytes_down, round.seconds));
  }
  double base = 0, persona = 0, personalized = 0;
  int judged = 0;
  for (const DeviceResult& device : result.devices) {
    if (device.persona.empty()) continue;
    ++judged;
    base += device.loss_base;
    persona += device.loss_persona;
    personalized += device.loss_personalized;
  }
  if (judged > 0) {
    output.Line(absl::StrFormat(
        "  mean held-out loss of %d devices: base %.4f, persona %.4f, personalized %.4f", judged,
        base / judged, persona / judged, personalized / judged));
  }
  for (const std::string& violation : result.violations) output.Line("  BROKEN: " + violation);
}

absl::Status WriteReport(const FleetResult& result, const std::string& directory, Output& output) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat(directory, ": cannot be made: ", error.message()));
  }
  const std::string path = directory + "/report.html";
  RETURN_IF_ERROR(WriteFileAtomic(path, FleetResultToHtml(result)));
  output.Line("report: " + path);
  return absl::OkStatus();
}

absl::Status Run(const RunArguments& arguments, Output& output) {
  FleetRunOptions options = arguments.fleet;
  options.synthetic = arguments.work == "synthetic";
  options.stop_requested = StopRequested;
  auto faults = ParseFaults(arguments.faults);
  if (!faults.ok()) return UsageError(Message(faults.status()));
  options.faults = *faults;
  if (!options.synthetic) RETURN_IF_ERROR(FillModelDefaults(&options.model));
  ASSIGN_OR_RETURN(const FleetResult result, RunFleet(options));
  Print(result, output);
  output.SetJson(FleetResultToJson(result));
  if (!arguments.report.empty()) RETURN_IF_ERROR(WriteReport(result, arguments.report, output));
  const bool failed = !result.violations.empty() || !result.status.ok();
  // The document says what went wrong, so it is printed beside the error too.
  if (failed && output.json()) output.Raw(output.document().dump(2) + "\n");
  if (!result.violations.empty()) {
    return absl::InternalError(absl::StrFormat("expected no broken promise, got %d, the first: %s",
                                               result.violations.size(), result.violations[0]));
  }
  return result.status;
}

void AddModelOptions(RunArguments* arguments, CLI::App* command) {
  ModelFleetOptions& model = arguments->fleet.model;
  command->add_option("--model", model.model, "Base model (default: the demo's)");
  command->add_option("--data", model.data,
                      "People: a folder of NAME.txt, or a samples.jsonl (default: the demo's)");
  command->add_option("--seeds", model.seeds,
                      "Folder with personas/ID.txt and public.txt to make the first catalog from");
  command->add_option("--catalog", model.catalog, "First catalog, instead of making one");
  command->add_option("--catalog-steps", model.catalog_steps, "Steps of each persona made")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command
      ->add_option("--personalize-steps", model.personalize_steps, "Steps of a device's residual")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--training-steps", model.training_steps, "Steps of a contribution")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--select-tokens", model.select_tokens, "Held-out tokens to choose by")
      ->check(CLI::Range(16, 1000000))
      ->capture_default_str();
  command->add_option("--device-bytes", model.device_bytes, "Text of a device at most; 0: all")
      ->capture_default_str();
}

}  // namespace

void AddRunCommand(Program& program) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* command =
      program.Add("run", "A fleet in one process: production code, virtual time, one seed",
                  [arguments](Output& output) { return Run(*arguments, output); });
  FleetRunOptions& fleet = arguments->fleet;
  command->add_option("--devices", fleet.devices, "Devices")
      ->check(CLI::Range(3, 5000))
      ->capture_default_str();
  command->add_option("--rounds", fleet.rounds, "Rounds to complete")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", fleet.seed, "Of everything random")->capture_default_str();
  command->add_option("--dropout", fleet.dropout, "Chance of a device's crash in a round")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--faults", arguments->faults,
                      "loss=P,duplicate=P,tamper=P,delay=S,jitter=S,timeout=S,restart=S");
  command->add_option("--work", arguments->work, "model, or synthetic: no language model, seconds")
      ->check(CLI::IsMember({"model", "synthetic"}))
      ->capture_default_str();
  command->add_option("--transport", arguments->transport, "memory: calls without a network")
      ->check(CLI::IsMember({"memory"}))
      ->capture_default_str();
  command->add_option("--cohort-min", fleet.cohort_min, "Fewest survivors; 0: 60 % of the devices")
      ->check(CLI::Range(0, 5000))
      ->capture_default_str();
  command->add_option("--epsilon", fleet.epsilon_budget, "Privacy budget of all rounds")
      ->check(CLI::Range(1e-3, 1e9))
      ->capture_default_str();
  command
      ->add_option("--noise", fleet.noise_multiplier,
                   "Noise of a sum in clip norms; 0: what the budget asks for")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option(
          "--noise-kind", fleet.noise,
          "Of the devices: skellam or discrete-gaussian; central: of the coordinator, which "
          "sees every sum before")
      ->check(CLI::IsMember({"skellam", "discrete-gaussian", "central"}))
      ->capture_default_str();
  command
      ->add_option(
          "--separation", fleet.separation,
          "Central noise: rounds from one contribution of a device to its next; a cohort is "
          "one device in so many")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--threads", fleet.threads, "For computations; changes no result")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--report", arguments->report, "Folder for report.html");
  AddModelOptions(arguments.get(), command);
}

}  // namespace lorikeet
