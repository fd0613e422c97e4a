// Search for a broken promise: small fleets with random sizes and faults, one for each seed.
#ifndef LORIKEET_SIMULATIONS_SCENARIOS_FUZZ_H_
#define LORIKEET_SIMULATIONS_SCENARIOS_FUZZ_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "simulations/scenarios/fleet_run.h"

namespace lorikeet {

// 3 to 18 devices with synthetic work; dropouts and faults from none to many.  The seed is all.
FleetRunOptions RandomFleet(uint64_t seed);
// One line: what the seed stands for.
std::string DescribeFleet(const FleetRunOptions& options);

struct FuzzFailure {
  uint64_t seed = 0;
  std::string profile;
  std::vector<std::string> violations;
};
struct FuzzResult {
  int runs = 0;
  int complete = 0;  // all rounds done; heavy faults may leave none
  int rounds_done = 0;
  int rounds_aborted = 0;
  std::vector<FuzzFailure> failures;
};
struct FuzzOptions {
  uint64_t first_seed = 1;
  uint64_t last_seed = 1;
  // Called after each run.
  std::function<void(uint64_t seed, const FleetResult&)> progress;
  std::function<bool()> stop_requested = [] { return false; };
};
// An error of a run itself (not of what it simulates) names its seed.
absl::StatusOr<FuzzResult> Fuzz(const FuzzOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SCENARIOS_FUZZ_H_
