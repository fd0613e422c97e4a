#include "coordinator/rounds/central_noise.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/encoder.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"

namespace lorikeet {
namespace {

CorrelatedNoise::Options NoiseOptions(const RoundDescription& round) {
  const EncodingParameters& encoding = round.encoding;
  return {
      .shape = ShapeOf(*round.central),
      .deviation = round.central->noise_multiplier * CentralSensitivity(*round.central, encoding),
      .dimension = encoding.padded_dimension(),
      .seed = {}};
}

// A record's state: the mechanism, then CorrelatedNoise::Serialize().
struct StoredNoise {
  Hash256 mechanism = {};
  CorrelatedNoise noise;
};

std::string StateOf(const StoredNoise& stored) {
  return std::string(stored.mechanism.begin(), stored.mechanism.end()) + stored.noise.Serialize();
}

absl::StatusOr<StoredNoise> ReadState(const NoiseRecord& record) {
  Hash256 mechanism;
  if (record.state.size() < mechanism.size()) {
    return absl::DataLossError(
        absl::StrFormat("central noise of task %s: expected a state of more than %d bytes, got %d",
                        record.task, mechanism.size(), record.state.size()));
  }
  std::copy_n(record.state.begin(), mechanism.size(), mechanism.begin());
  ASSIGN_OR_RETURN(
      CorrelatedNoise noise,
      CorrelatedNoise::Restore(std::string_view(record.state).substr(mechanism.size())));
  return StoredNoise{mechanism, std::move(noise)};
}

// Whether the stored noise was made for contributions like these.
bool Fits(const CorrelatedNoise& stored, const RoundDescription& round) {
  const CorrelatedNoise::Options needed = NoiseOptions(round);
  return stored.shape() == needed.shape && stored.deviation() == needed.deviation &&
         stored.dimension() == needed.dimension;
}

absl::StatusOr<StoredNoise> NoiseOfStep(const RoundDescription& round,
                                        const std::optional<NoiseRecord>& noise) {
  if (!noise) {
    return absl::DataLossError(
        absl::StrFormat("round %d of task %s: expected stored central noise, found none",
                        round.round_number, round.task));
  }
  ASSIGN_OR_RETURN(StoredNoise stored, ReadState(*noise));
  if (stored.mechanism != round.central->mechanism || stored.noise.step() != round.central->step ||
      !Fits(stored.noise, round)) {
    return absl::DataLossError(absl::StrFormat(
        "round %d of task %s: expected central noise at step %d of its mechanism, got other noise, "
        "at step %d",
        round.round_number, round.task, round.central->step, stored.noise.step()));
  }
  return stored;
}

absl::StatusOr<StoredNoise> MakeNoise(const RoundDescription& round, RandomSource* random) {
  Hash256 mechanism;
  random->Fill(mechanism);
  CorrelatedNoise::Options options = NoiseOptions(round);
  random->Fill(options.seed);
  ASSIGN_OR_RETURN(CorrelatedNoise noise, CorrelatedNoise::Create(options));
  return StoredNoise{mechanism, std::move(noise)};
}

}  // namespace

CentralNoise PlanCentralNoise(const TaskConfig& config) {
  CentralNoise central;
  central.steps = config.rounds;
  central.separation = config.separation;
  central.participations = ParticipationsOf({.steps = config.rounds,
                                             .separation = config.separation,
                                             .participations = config.participations});
  central.noise_multiplier = config.noise_multiplier;
  return central;
}

MatrixShape ShapeOf(const CentralNoise& central) {
  MatrixShape shape{.steps = central.steps,
                    .separation = central.separation,
                    .participations = central.participations};
  shape.bands = BestBands(shape);
  return shape;
}

double CentralSensitivity(const CentralNoise& central, const EncodingParameters& encoding) {
  const double rounded =
      RoundedNormBound(encoding.clip_norm * encoding.scale, encoding.padded_dimension());
  return MatrixSensitivity(ShapeOf(central)) * rounded / encoding.scale;
}

double CentralDeviation(const CentralNoise& central, int64_t step,
                        const EncodingParameters& encoding) {
  return central.noise_multiplier * CentralSensitivity(central, encoding) *
         StepDeviation(ShapeOf(central), step);
}

absl::StatusOr<double> CentralEpsilon(const CentralNoise& central, double delta) {
  return GaussianEpsilon(central.noise_multiplier, 1, delta);
}

absl::StatusOr<RoundDescription> AtCentralStep(RoundDescription round, Store* store,
                                               RandomSource* random) {
  ASSIGN_OR_RETURN(std::optional<NoiseRecord> record, store->FindNoise(round.task));
  if (!record) {
    ASSIGN_OR_RETURN(const StoredNoise made, MakeNoise(round, random));
    record = NoiseRecord{.task = round.task, .state = StateOf(made)};
    RETURN_IF_ERROR(store->AddNoise(*record));
  }
  ASSIGN_OR_RETURN(const StoredNoise stored, ReadState(*record));
  if (stored.noise.step() >= round.central->steps) {
    return absl::OutOfRangeError(
        absl::StrFormat("central noise: expected a task of at most %d rounds, all steps are used",
                        round.central->steps));
  }
  if (!Fits(stored.noise, round)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "central noise: expected contributions of %d numbers, as when the task's first round "
        "opened, got %d: a catalog of another size needs a new task",
        stored.noise.dimension(), round.encoding.padded_dimension()));
  }
  round.central->mechanism = stored.mechanism;
  round.central->step = stored.noise.step();
  return DecodeRoundDescription(Encode(round));
}

absl::StatusOr<std::vector<float>> ReleasableSum(const RoundDescription& round,
                                                 std::span<const uint32_t> sum,
                                                 const std::optional<NoiseRecord>& noise) {
  if (!round.central) return DecodeSum(sum, round.encoding);
  ASSIGN_OR_RETURN(StoredNoise stored, NoiseOfStep(round, noise));
  ASSIGN_OR_RETURN(std::vector<double> added, stored.noise.Next());
  std::vector<uint32_t> noised(sum.begin(), sum.end());
  RETURN_IF_ERROR(AddToSum(std::move(added), round.encoding, noised));
  return DecodeSum(noised, round.encoding);
}

absl::StatusOr<NoiseRecord> AfterCentralStep(const RoundDescription& round,
                                             const std::optional<NoiseRecord>& noise) {
  ASSIGN_OR_RETURN(StoredNoise stored, NoiseOfStep(round, noise));
  RETURN_IF_ERROR(stored.noise.Skip());
  return NoiseRecord{.task = round.task, .state = StateOf(stored)};
}

}  // namespace lorikeet
