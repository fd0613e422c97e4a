// Task + catalog -> the round description that is signed, and what the round costs in privacy.
#ifndef LORIKEET_COORDINATOR_ROUNDS_DESCRIBE_ROUND_H_
#define LORIKEET_COORDINATOR_ROUNDS_DESCRIBE_ROUND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/random.h"
#include "common/dp/modulus.h"
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

// Personas that share a round: consecutive ones of the catalog.
struct Bucket {
  int first_persona = 0;
  int persona_count = 0;
};
// One with all personas; of a routed task, as many of bucket_personas as it takes, the last of
// which may be smaller.
std::vector<Bucket> BucketsOf(const TaskConfig& config, const CatalogShape& catalog);
// The number of the first round that opened with this one (a sweep, one round a bucket).
uint64_t SweepOf(const TaskConfig& config, const RoundDescription& round);

// Everything but round number, deadlines and rotation seed: a dry run when a task is created.  Of a
// routed task: its first round, the largest.  INVALID_ARGUMENT: no modulus or no graph fits, or
// there are more buckets than a list of rounds can hold.
absl::StatusOr<RoundDescription> PlanRound(const TaskConfig& config, const CatalogShape& catalog);

// Survivors whose noise the guarantee counts on: cohort_min less the corrupt ones.
int HonestSurvivors(const TaskConfig& config);

// How the sum of such a round becomes the next catalog.
MergeOptions MergeOptionsOf(const TaskConfig& config, const RoundDescription& round);

// The rounds that start now, one a bucket, with consecutive numbers and the same deadlines.
// Rotation seeds are fresh.
absl::StatusOr<std::vector<RoundDescription>> DescribeSweep(const TaskConfig& config,
                                                            const CatalogShape& catalog,
                                                            uint64_t first_number, absl::Time now,
                                                            RandomSource* random);

// The same round, which admits devices by anonymous token.
absl::StatusOr<RoundDescription> AdmitByToken(RoundDescription round, const TokenDemand& demand);

// Standard deviation of the noise in the sum of the planned round, in clip norms: of `survivors`
// devices' shares, or of the coordinator's at its last and largest step.
double PlannedDeviation(const RoundDescription& round, int survivors);

// Bounds how often a coordinate of the planned round's sum wraps around, its noise included.
absl::StatusOr<OverflowBound> PlannedOverflow(const TaskConfig& config,
                                              const RoundDescription& round);

// Epsilon at the task's delta of `rounds` rounds like this one, for cohort_min survivors of which
// corrupt_fraction add no noise.  Of central noise: of all rounds, however many were made.
absl::StatusOr<double> EpsilonOfRounds(const TaskConfig& config, const RoundDescription& round,
                                       int64_t rounds);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_DESCRIBE_ROUND_H_
