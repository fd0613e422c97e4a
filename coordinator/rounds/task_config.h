// A task: what a fleet trains together, with whom, and at what price in privacy.
//
// Stored as JSON (the keys are the field names) and fixed for the task's life: changing one of
// these numbers would change what devices agreed to.
#ifndef LORIKEET_COORDINATOR_ROUNDS_TASK_CONFIG_H_
#define LORIKEET_COORDINATOR_ROUNDS_TASK_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/dp/ledger.h"
#include "common/dp/utility.h"
#include "common/secagg/messages.h"
#include "common/wire/round.h"

namespace lorikeet {

struct TaskConfig {
  std::string name;
  std::string base_fingerprint;
  int rounds = 10;  // to complete

  int cohort_min = 30;
  int cohort_max = 50;
  double corrupt_fraction = 0.05;  // of the cohort, that the parameters withstand
  double dropout_fraction = 0.10;  // planned for; more may abort a round

  double clip_norm = 1.0;  // L2, of a device's whole vector
  // Of the sum's noise, in clip norms, for cohort_min honest devices; where the coordinator adds
  // it: of all rounds together, in what all contributions of a device can change (central_noise.h).
  double noise_multiplier = 1.0;
  double delta = 1e-6;
  double epsilon_budget = 8.0;  // over all rounds; a round that would exceed it does not open
  double scale = 0;             // integer units per real unit; 0: 1024 per clip norm
  // "skellam" or "discrete-gaussian": devices add it.  "central": the coordinator does, which sees
  // every sum before; devices must allow that.
  std::string noise = "skellam";
  int separation = 1;      // of central noise: rounds from one contribution of a device to its next
  int participations = 0;  // the same: contributions of a device at most; 0: as many as fit
  // Personas whose mean would hold more noise than this, as a norm over the clip norm, are not
  // released; if that is all of them, nothing is.  Demonstrations release whatever comes out.
  double largest_noise_ratio = kLargestNoiseRatio;
  bool demonstration = false;  // lets go of the floors of TaskPolicy; devices must opt in
  // "required": devices join by anonymous token, unnamed; "off": by their certificate's name.
  std::string tokens = "off";

  // "all-blocks": a device's vector has room for every persona, and shows none.  "routed": personas
  // in buckets of bucket_personas, each with rounds and cohorts of its own, which reveal how many
  // devices chose from each bucket; devices must allow that.
  std::string routing = "all-blocks";
  int bucket_personas = 1;

  double count_weight = 0.3;  // of the one-hot counts, in clip norms
  double loss_weight = 0.02;  // of a loss, in clip norms
  double loss_bound = 8.0;
  double server_learning_rate = 1.0;
  double min_count = 0;  // personas with a smaller noisy count stay as they are; 0: see ClearCount

  LocalTraining training = {
      .steps = 20, .batch_size = 4, .context_length = 128, .learning_rate = 1e-2};

  absl::Duration advertise = absl::Minutes(10);  // each step's longest duration
  absl::Duration share = absl::Minutes(5);
  absl::Duration mask = absl::Minutes(60);
  absl::Duration acknowledge = absl::Minutes(5);
  absl::Duration unmask = absl::Minutes(5);
  absl::Duration pause = absl::ZeroDuration();  // between the end of a round and the next
};

inline bool HasCentralNoise(const TaskConfig& config) { return config.noise == "central"; }
inline bool IsRouted(const TaskConfig& config) { return config.routing == "routed"; }
inline bool RequiresTokens(const TaskConfig& config) { return config.tokens == "required"; }

// What this coordinator's owner allows: the strict rule.
struct TaskPolicy {
  int cohort_floor = 30;
  double epsilon_ceiling = 8.0;
  // Over all tasks of a base together (total_budget.h); none unless told.
  std::optional<double> total_epsilon;
  double total_delta = 1e-5;
};
inline std::optional<PrivacyBudget> TotalBudgetOf(const TaskPolicy& policy) {
  if (!policy.total_epsilon) return std::nullopt;
  return PrivacyBudget{.epsilon = *policy.total_epsilon, .delta = policy.total_delta};
}

// Seconds for durations: "advertise_seconds" etc.
std::string TaskConfigToJson(const TaskConfig& config);
// INVALID_ARGUMENT: malformed, an unknown key, or out of range (names the key).
absl::StatusOr<TaskConfig> TaskConfigFromJson(const std::string& json);

// Ranges.  INVALID_ARGUMENT names the field, what was expected and what came.
absl::Status CheckTaskConfig(const TaskConfig& config);
// PERMISSION_DENIED: breaks the strict rule and is no demonstration.  `total_epsilon` is over all
// rounds.
absl::Status CheckTaskPolicy(const TaskConfig& config, double total_epsilon,
                             const TaskPolicy& policy);

// The smallest noisy count that means somebody was there: config.min_count, or where that is 0
// three standard deviations of the count's noise, at least 2.  `deviation`: of the sum's noise, in
// clip norms.
double ClearCount(const TaskConfig& config, double deviation);

// Degree, threshold and cohort sizes; dimension and modulus are left 0.
// INVALID_ARGUMENT: no graph fits (common/secagg/parameters.h).
absl::StatusOr<SecAggParameters> GraphOf(const TaskConfig& config);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_TASK_CONFIG_H_
