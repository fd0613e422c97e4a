#include "simulations/scenarios/fuzz.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// Zero in half of the fleets, so that faults are also met alone.
double Sometimes(Rng* rng, double largest) {
  const double value = rng->Uniform() * largest;
  return rng->Below(2) == 0 ? 0 : value;
}

}  // namespace

FleetRunOptions RandomFleet(uint64_t seed) {
  SeededRandom random("fuzzed fleet", seed);
  Rng rng(random.Uint64());
  FleetRunOptions options;
  options.seed = seed;
  options.synthetic = true;
  options.devices = 3 + static_cast<int>(rng.Below(16));
  options.rounds = 1 + static_cast<int>(rng.Below(3));
  options.personas = 1 + static_cast<int>(rng.Below(4));
  options.core_rank = 1 + static_cast<int>(rng.Below(4));
  // From a bare majority to everybody.
  const int majority = options.devices / 2 + 1;
  options.cohort_min =
      majority + static_cast<int>(rng.Below(static_cast<uint64_t>(options.devices - majority + 1)));
  options.dropout = Sometimes(&rng, 0.4);
  options.faults.loss = Sometimes(&rng, 0.2);
  options.faults.duplicate = Sometimes(&rng, 0.2);
  options.faults.tamper = Sometimes(&rng, 0.2);
  options.faults.delay = absl::Seconds(rng.Uniform() * 0.5);
  options.faults.jitter = absl::Seconds(Sometimes(&rng, 5.0));
  options.faults.restart = absl::Seconds(Sometimes(&rng, 300.0));
  options.epsilon_budget = rng.Below(4) == 0 ? 8 : 1e6;
  options.noise_multiplier = rng.Below(2) == 0 ? 0 : 0.5;
  options.limit_hours = 1;
  return options;
}

std::string DescribeFleet(const FleetRunOptions& options) {
  return absl::StrFormat("devices=%d rounds=%d cohort_min=%d personas=%d dropout=%.2f %s",
                         options.devices, options.rounds, options.cohort_min, options.personas,
                         options.dropout, FaultsToString(options.faults));
}

absl::StatusOr<FuzzResult> Fuzz(const FuzzOptions& options) {
  FuzzResult result;
  for (uint64_t seed = options.first_seed; seed <= options.last_seed; ++seed) {
    if (options.stop_requested()) return absl::CancelledError("stopped by request");
    const FleetRunOptions fleet = RandomFleet(seed);
    auto run = RunFleet(fleet);
    if (!run.ok()) return Annotate(run.status(), absl::StrCat("seed ", seed));
    ++result.runs;
    result.complete += run->status.ok() ? 1 : 0;
    result.rounds_done += run->rounds_done();
    result.rounds_aborted += static_cast<int>(run->rounds.size()) - run->rounds_done();
    // Faults may keep rounds from ending; anything else that ends a world is a defect of it.
    if (!run->status.ok() && !absl::IsDeadlineExceeded(run->status)) {
      run->violations.push_back(run->status.ToString());
    }
    if (!run->violations.empty()) {
      result.failures.push_back({seed, DescribeFleet(fleet), run->violations});
    }
    if (options.progress) options.progress(seed, *run);
  }
  return result;
}

}  // namespace lorikeet
