// What the processes of one fleet run wrote down, read back for its report.
//
// A run's directory (deploy/demo makes one) holds
//   catalog.gguf                             the catalog the fleet started from
//   devices/NAME/state/personalize-V.json    what the device decided with catalog version V
//   devices/NAME/state/events.jsonl          its agent's events
//   rounds/N.json                            lorikeet-coordinator round show N --json
//   ledger.json                              lorikeet-coordinator ledger --json
//   stages.jsonl                             {"stage", "seconds"}, in order
//   samples/NAME.{prompt,base.json,personalized.json}   lorikeet generate --json
//   killed                                   name of the device that was killed, if one was
// None of these holds a word of an owner's text; samples are what a model said.
#ifndef LORIKEET_SIMULATIONS_REPORT_FLEET_DATA_H_
#define LORIKEET_SIMULATIONS_REPORT_FLEET_DATA_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/report/svg_plot.h"

namespace lorikeet {

// One device, one catalog version.  Losses are held-out, nats a token.
struct FleetChoice {
  uint64_t catalog_version = 0;
  std::string chosen;    // persona id, "a + b" for a blend, or "base"
  std::string heaviest;  // the persona with most weight in it; empty: none
  std::string reason;
  std::string style;    // how this owner writes, in a few words
  std::string outcome;  // "kept", "persona" or "rolled back"
  double loss_base = 0;
  double loss_persona = 0;
  double loss_personalized = 0;
  std::optional<double> loss_existing;  // of the adapter in use before
  std::vector<PlotPoint> train_loss, eval_loss;
  std::map<std::string, double> style_distance;  // by persona

  // Of what the device uses after its decision.
  double LossInUse() const;
};

struct FleetDevice {
  std::string name;
  std::vector<FleetChoice> choices;  // by catalog version, never empty
  uint64_t bytes_fetched = 0;
  int rounds_done = 0;
};

struct FleetStep {
  std::string name;
  int messages = 0;
  uint64_t bytes = 0;  // sent by devices
  double seconds = 0;
};

struct FleetRound {
  uint64_t number = 0;
  std::string status;
  int admitted = 0;
  int survivors = 0;
  double seconds = 0;
  double epsilon = 0;
  double delta = 0;
  uint64_t catalog_version = 0;  // the one it started from
  uint64_t dimension = 0;
  int modulus_bits = 0;
  std::vector<FleetStep> steps;
};

struct FleetSample {
  std::string device;
  std::string prompt;
  std::string base;
  std::optional<std::string> personalized;
};

struct FleetStage {
  std::string name;
  double seconds = 0;
};

struct FleetRun {
  Catalog catalog;
  std::vector<FleetDevice> devices;  // by name
  std::vector<FleetRound> rounds;    // by number
  std::vector<FleetStage> stages;
  std::vector<FleetSample> samples;
  double epsilon_spent = 0;
  double delta = 0;
  bool demonstration = false;
  std::string killed;  // empty: none
};

// NOT_FOUND: a file that every run has is missing.  INVALID_ARGUMENT: a file is not what it should
// be (names it).
absl::StatusOr<FleetRun> ReadFleetRun(const std::string& directory);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_REPORT_FLEET_DATA_H_
