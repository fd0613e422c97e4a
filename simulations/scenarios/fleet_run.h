// One simulated fleet, from its options to what is known of it at the end.
#ifndef LORIKEET_SIMULATIONS_SCENARIOS_FLEET_RUN_H_
#define LORIKEET_SIMULATIONS_SCENARIOS_FLEET_RUN_H_

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "simulations/world/network.h"

namespace lorikeet {

struct ModelFleetOptions {
  std::string model;    // GGUF
  std::string data;     // people: see fleet_data.h
  std::string seeds;    // folder with personas/ and public.txt, to make a catalog
  std::string catalog;  // instead of one made from `seeds`
  int catalog_steps = 12;
  int personalize_steps = 3;
  int training_steps = 3;  // of a round's contribution
  int64_t select_tokens = 120;
  size_t device_bytes = 1500;  // of text, at most
};

struct FleetRunOptions {
  int devices = 50;
  int rounds = 2;
  uint64_t seed = 1;
  double dropout = 0;
  FaultOptions faults;
  bool synthetic = false;  // no language model: see simulations/world/synthetic_work.h
  int personas = 4;        // of a synthetic catalog
  int core_rank = 4;       // the same
  int cohort_min = 0;      // 0: 60 % of the devices
  double epsilon_budget = 8;
  double noise_multiplier = 0;    // 0: as much as the budget asks for
  std::string noise = "skellam";  // or "discrete-gaussian", "central"
  // Of central noise: a cohort is one device in so many, and a device in every so many rounds.
  int separation = 1;
  int threads = 1;
  double limit_hours = 0;  // virtual; 0: follows from the rounds
  ModelFleetOptions model;
  std::function<bool()> stop_requested = [] { return false; };
};

struct RoundResult {
  uint64_t number = 0;
  bool done = false;
  std::string status;   // "done", "aborted", or "open" when the run stopped before its end
  std::string message;  // why it was aborted
  uint32_t survivors = 0;
  uint64_t sum_error = 0;  // integer units; see checkers/invariants.h
  double epsilon = 0;      // of this round
  double epsilon_total = 0;
  uint64_t bytes_up = 0, bytes_down = 0;
  double seconds = 0;     // virtual
  nlohmann::json report;  // the coordinator's: persona counts, losses
};

struct DeviceResult {
  std::string id;
  std::string persona;  // chosen; empty: none yet
  double loss_base = 0, loss_persona = 0, loss_personalized = 0;
  bool kept = false;
  uint64_t catalog_version = 0;
  int rounds_done = 0;
  int crashes = 0;
  double epsilon_spent = 0;
  std::string stopped;  // why the agent stopped by itself; empty: it runs
};

struct FleetResult {
  FleetRunOptions options;
  absl::Status status;              // of the world
  std::vector<RoundResult> rounds;  // in order; aborted ones among them
  std::vector<DeviceResult> devices;
  std::vector<std::string> violations;
  int cohort_min = 0;
  double noise_multiplier = 0;
  bool demonstration = false;
  uint64_t catalog_version = 0;
  uint64_t other_bytes_up = 0, other_bytes_down = 0;  // of no round: releases, looking for rounds
  double seconds = 0;                                 // virtual
  int64_t events = 0;
  int coordinator_kills = 0;

  int rounds_done() const;
};

// Errors: options that make no fleet, unreadable files.  What goes wrong in the world is in the
// result.
absl::StatusOr<FleetResult> RunFleet(const FleetRunOptions& options);

// The document of `lorikeet-sim run --json`: no time but virtual time, no path.
nlohmann::json FleetResultToJson(const FleetResult& result);

// report.html's bytes: losses by device, personas and survivors by round, privacy spent.
std::string FleetResultToHtml(const FleetResult& result);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SCENARIOS_FLEET_RUN_H_
