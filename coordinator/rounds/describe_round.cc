#include "coordinator/rounds/describe_round.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/accountant.h"
#include "common/dp/encoder.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"
#include "common/wire/limits.h"
#include "coordinator/rounds/central_noise.h"

namespace lorikeet {
namespace {

constexpr double kDefaultScalePerClipNorm = 1024;

UpdateLayout LayoutOf(const TaskConfig& config, const CatalogShape& catalog, const Bucket& bucket) {
  return {.persona_count = bucket.persona_count,
          .first_persona = bucket.first_persona,
          .catalog_personas = catalog.persona_count,
          .block_size = catalog.block_size,
          .count_weight = config.count_weight * config.clip_norm,
          .loss_weight = config.loss_weight * config.clip_norm,
          .loss_bound = config.loss_bound};
}

// For bounds of the modulus: the encoding as if cohort_max devices shared the coordinator's noise
// at its last and largest step.  Unchanged without such noise.
EncodingParameters WithSharedNoise(const TaskConfig& config, const RoundDescription& round) {
  EncodingParameters shared = round.encoding;
  if (round.central) {
    shared.noise = NoiseKind::kDiscreteGaussian;  // what a rounded Gaussian is like
    shared.sigma_local = CentralDeviation(*round.central, round.central->steps - 1, shared) /
                         std::sqrt(config.cohort_max);
  }
  return shared;
}

absl::Status FillEncoding(const TaskConfig& config, RoundDescription* round) {
  EncodingParameters& encoding = round->encoding;
  encoding.dimension = round->layout.dimension();
  encoding.clip_norm = config.clip_norm;
  encoding.scale = config.scale > 0 ? config.scale : kDefaultScalePerClipNorm / config.clip_norm;
  if (HasCentralNoise(config)) {
    round->central = PlanCentralNoise(config);
  } else {
    // Each device's share is sized so that the fewest honest survivors still add up to the whole.
    encoding.sigma_local =
        config.noise_multiplier * config.clip_norm / std::sqrt(HonestSurvivors(config));
    ASSIGN_OR_RETURN(encoding.noise, ParseNoiseKind(config.noise));
  }
  ASSIGN_OR_RETURN(encoding.modulus_bits,
                   RequiredModulusBits(WithSharedNoise(config, *round), config.cohort_max));
  round->secagg.dimension = encoding.padded_dimension();
  round->secagg.modulus_bits = encoding.modulus_bits;
  return absl::OkStatus();
}

void SetTimes(const TaskConfig& config, absl::Time now, RoundDescription* round) {
  // Routed: half of the first step is for devices to hear of it.
  if (round->layout.routed()) round->join_from = now + config.advertise / 2;
  round->advertise_until = now + config.advertise;
  round->share_until = round->advertise_until + config.share;
  round->mask_until = round->share_until + config.mask;
  round->acknowledge_until = round->mask_until + config.acknowledge;
  round->unmask_until = round->acknowledge_until + config.unmask;
}

absl::StatusOr<RoundDescription> PlanBucket(const TaskConfig& config, const CatalogShape& catalog,
                                            const Bucket& bucket) {
  RoundDescription round;
  round.task = config.name;
  round.base_fingerprint = config.base_fingerprint;
  round.catalog_hash = catalog.hash;
  round.catalog_version = catalog.version;
  ASSIGN_OR_RETURN(round.secagg, GraphOf(config));
  round.layout = LayoutOf(config, catalog, bucket);
  round.training = config.training;
  RETURN_IF_ERROR(FillEncoding(config, &round));
  round.delta = config.delta;
  round.demonstration = config.demonstration;
  ASSIGN_OR_RETURN(round.epsilon, EpsilonOfRounds(config, round, 1));
  return round;
}

}  // namespace

int HonestSurvivors(const TaskConfig& config) {
  return config.cohort_min -
         static_cast<int>(std::ceil(config.corrupt_fraction * config.cohort_min));
}

MergeOptions MergeOptionsOf(const TaskConfig& config, const RoundDescription& round) {
  MergeOptions options;
  options.server_learning_rate = config.server_learning_rate;
  const double central =
      round.central ? CentralDeviation(*round.central, round.central->step, round.encoding) : 0;
  options.min_count =
      ClearCount(config, round.central ? central / config.clip_norm : config.noise_multiplier);
  if (!config.demonstration) {
    options.largest_noise_ratio = config.largest_noise_ratio;
    options.sigma_local = round.encoding.sigma_local;
    options.central_deviation = central;
    options.clip_norm = round.encoding.clip_norm;
  }
  return options;
}

double PlannedDeviation(const RoundDescription& round, int survivors) {
  const double deviation =
      round.central ? CentralDeviation(*round.central, round.central->steps - 1, round.encoding)
                    : round.encoding.sigma_local * std::sqrt(survivors);
  return deviation / round.encoding.clip_norm;
}

absl::StatusOr<OverflowBound> PlannedOverflow(const TaskConfig& config,
                                              const RoundDescription& round) {
  return SumOverflow(WithSharedNoise(config, round), config.cohort_max);
}

std::vector<Bucket> BucketsOf(const TaskConfig& config, const CatalogShape& catalog) {
  const int all = catalog.persona_count;
  if (!IsRouted(config)) return {{0, all}};
  std::vector<Bucket> buckets;
  for (int first = 0; first < all; first += config.bucket_personas) {
    buckets.push_back({first, std::min(config.bucket_personas, all - first)});
  }
  return buckets;
}

uint64_t SweepOf(const TaskConfig& config, const RoundDescription& round) {
  return round.round_number -
         static_cast<uint64_t>(round.layout.first_persona / config.bucket_personas);
}

absl::StatusOr<RoundDescription> PlanRound(const TaskConfig& config, const CatalogShape& catalog) {
  const auto buckets = BucketsOf(config, catalog);
  if (buckets.size() > kMaxOfferedRounds) {
    return absl::InvalidArgumentError(
        absl::StrFormat("task %s: expected at most %d buckets of personas, got %d (more personas "
                        "in each)",
                        config.name, kMaxOfferedRounds, buckets.size()));
  }
  return PlanBucket(config, catalog, buckets.front());
}

absl::StatusOr<std::vector<RoundDescription>> DescribeSweep(const TaskConfig& config,
                                                            const CatalogShape& catalog,
                                                            uint64_t first_number, absl::Time now,
                                                            RandomSource* random) {
  std::vector<RoundDescription> sweep;
  ASSIGN_OR_RETURN(RoundDescription plan, PlanRound(config, catalog));
  for (const Bucket& bucket : BucketsOf(config, catalog)) {
    if (bucket.persona_count != plan.layout.persona_count) {
      ASSIGN_OR_RETURN(plan, PlanBucket(config, catalog, bucket));
    }
    plan.layout.first_persona = bucket.first_persona;
    plan.round_number = first_number + sweep.size();
    SetTimes(config, now, &plan);
    random->Fill(plan.encoding.rotation_seed);
    // Through the wire's checks: what we sign, devices can read.  It also rounds the deadlines to
    // milliseconds and sets the session.
    ASSIGN_OR_RETURN(sweep.emplace_back(), DecodeRoundDescription(Encode(plan)));
  }
  return sweep;
}

absl::StatusOr<RoundDescription> AdmitByToken(RoundDescription round, const TokenDemand& demand) {
  round.token = demand;
  return DecodeRoundDescription(Encode(round));
}

absl::StatusOr<double> EpsilonOfRounds(const TaskConfig& config, const RoundDescription& round,
                                       int64_t rounds) {
  if (round.central) return CentralEpsilon(*round.central, config.delta);
  return RoundEpsilon(round.encoding, HonestSurvivors(config), static_cast<int>(rounds),
                      config.delta);
}

}  // namespace lorikeet
