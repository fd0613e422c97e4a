// Task + catalog -> the round description that is signed, and what the round costs in privacy.
#ifndef LORIKEET_COORDINATOR_ROUNDS_DESCRIBE_ROUND_H_
#define LORIKEET_COORDINATOR_ROUNDS_DESCRIBE_ROUND_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/random.h"
#include "common/wire/round.h"
#include "coordinator/aggregation/update_merge.h"
#include "coordinator/rounds/task_config.h"

namespace lorikeet {

struct CatalogShape {
  std::string hash;  // hex, of the catalog file
  uint64_t version = 0;
  int persona_count = 0;
  int64_t block_size = 0;
};

// Everything but round number, deadlines and rotation seed: a dry run when a task is created.
// INVALID_ARGUMENT: no modulus or no graph fits.
absl::StatusOr<RoundDescription> PlanRound(const TaskConfig& config, const CatalogShape& catalog);

// Survivors whose noise the guarantee counts on: cohort_min less the corrupt ones.
int HonestSurvivors(const TaskConfig& config);

// How the sum of such a round becomes the next catalog.
MergeOptions MergeOptionsOf(const TaskConfig& config, const RoundDescription& round);

// A round that starts now.  The rotation seed is fresh.
absl::StatusOr<RoundDescription> DescribeRound(const TaskConfig& config,
                                               const CatalogShape& catalog, uint64_t round_number,
                                               absl::Time now, RandomSource* random);

// The same round, which admits devices by anonymous token.
absl::StatusOr<RoundDescription> AdmitByToken(RoundDescription round, const TokenDemand& demand);

// Epsilon at the task's delta of `rounds` rounds like this one, for cohort_min survivors of which
// corrupt_fraction add no noise.
absl::StatusOr<double> EpsilonOfRounds(const TaskConfig& config, const RoundDescription& round,
                                       int64_t rounds);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_DESCRIBE_ROUND_H_
