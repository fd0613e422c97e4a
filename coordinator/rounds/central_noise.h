// Noise that the coordinator adds to the sums of a task's rounds, correlated over the rounds
// (common/dp/matrix_noise.h), instead of noise from the devices.
//
// This is central trust: whoever runs the coordinator sees every sum before noise.  What devices
// and everybody else see is noised: the catalogs, and what is reported of them.  A task has one
// mechanism, whose seed is stored before the task's first round opens.  The noise of a step follows
// from the seed and the step, so that a merge that is repeated after kill -9 gives the same bytes;
// the step moves on in the transaction that ends its round (Store::FinishRound).
//
// The seed lies in the store, beside the round's events.  To the operator that tells nothing new:
// who holds the events of a round can compute its sum, and who holds the sum needs no noise taken
// off.  Both go: the events with the end of their round, the seed with the end of the last step,
// overwritten in the file.  Until then a copy of the store and the published catalogs together give
// the sums of earlier steps, so a backup of it is as secret as the sums are.
#ifndef LORIKEET_COORDINATOR_ROUNDS_CENTRAL_NOISE_H_
#define LORIKEET_COORDINATOR_ROUNDS_CENTRAL_NOISE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/dp/matrix_noise.h"
#include "common/wire/round.h"
#include "coordinator/rounds/task_config.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

// The mechanism of a task with `noise` "central", at its first step and without an identity.
CentralNoise PlanCentralNoise(const TaskConfig& config);
// Its factorization, with as many bands as serve it best: how the noise is correlated is nobody
// else's business, the guarantee is that of noise_multiplier.
MatrixShape ShapeOf(const CentralNoise& central);

// How much all contributions of one device can move C times the sums, as an L2 norm in real units:
// the norm of one after conditional rounding, times that of the worst pattern of participation.
double CentralSensitivity(const CentralNoise& central, const EncodingParameters& encoding);
// Standard deviation of the noise of a step in every number of the decoded sum, in real units.
double CentralDeviation(const CentralNoise& central, int64_t step,
                        const EncodingParameters& encoding);
// Epsilon at `delta` of the whole mechanism: the exact Gaussian, since C times the released sums is
// one with noise of noise_multiplier sensitivities.
absl::StatusOr<double> CentralEpsilon(const CentralNoise& central, double delta);

// The description at the step that the task's noise is at; makes the noise, and stores it, if it is
// the first.  OUT_OF_RANGE: all steps are used up.  FAILED_PRECONDITION: the noise was made for
// another length or size of contributions.  DATA_LOSS: the stored noise is unreadable.
absl::StatusOr<RoundDescription> AtCentralStep(RoundDescription round, Store* store,
                                               RandomSource* random);

// A sum modulo 2^m (common/secagg) -> real sum as it may be released: the noise of the round's step
// is added where the description says that the coordinator does that.  `noise`: the task's, or
// none.  DATA_LOSS: expected noise of this mechanism and step.
absl::StatusOr<std::vector<float>> ReleasableSum(const RoundDescription& round,
                                                 std::span<const uint32_t> sum,
                                                 const std::optional<NoiseRecord>& noise);

// The task's noise after this round's step.  DATA_LOSS as above.
absl::StatusOr<NoiseRecord> AfterCentralStep(const RoundDescription& round,
                                             const std::optional<NoiseRecord>& noise);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_CENTRAL_NOISE_H_
