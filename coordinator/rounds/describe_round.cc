#include "coordinator/rounds/describe_round.h"

#include <cmath>

#include "common/base/status_macros.h"
#include "common/dp/accountant.h"
#include "common/dp/encoder.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"

namespace lorikeet {
namespace {

constexpr double kDefaultScalePerClipNorm = 1024;

UpdateLayout LayoutOf(const TaskConfig& config, const CatalogShape& catalog) {
  return {.persona_count = catalog.persona_count,
          .catalog_personas = catalog.persona_count,
          .block_size = catalog.block_size,
          .count_weight = config.count_weight * config.clip_norm,
          .loss_weight = config.loss_weight * config.clip_norm,
          .loss_bound = config.loss_bound};
}

absl::Status FillEncoding(const TaskConfig& config, RoundDescription* round) {
  EncodingParameters& encoding = round->encoding;
  encoding.dimension = round->layout.dimension();
  encoding.clip_norm = config.clip_norm;
  encoding.scale = config.scale > 0 ? config.scale : kDefaultScalePerClipNorm / config.clip_norm;
  // Each device's share is sized so that the fewest honest survivors still add up to the whole.
  encoding.sigma_local =
      config.noise_multiplier * config.clip_norm / std::sqrt(HonestSurvivors(config));
  ASSIGN_OR_RETURN(encoding.noise, ParseNoiseKind(config.noise));
  ASSIGN_OR_RETURN(encoding.modulus_bits, RequiredModulusBits(encoding, config.cohort_max));
  round->secagg.dimension = encoding.padded_dimension();
  round->secagg.modulus_bits = encoding.modulus_bits;
  return absl::OkStatus();
}

}  // namespace

int HonestSurvivors(const TaskConfig& config) {
  return config.cohort_min -
         static_cast<int>(std::ceil(config.corrupt_fraction * config.cohort_min));
}

MergeOptions MergeOptionsOf(const TaskConfig& config, const RoundDescription& round) {
  MergeOptions options;
  options.server_learning_rate = config.server_learning_rate;
  options.min_count = ClearCount(config);
  if (!config.demonstration) {
    options.largest_noise_ratio = config.largest_noise_ratio;
    options.sigma_local = round.encoding.sigma_local;
    options.clip_norm = round.encoding.clip_norm;
  }
  return options;
}

absl::StatusOr<RoundDescription> PlanRound(const TaskConfig& config, const CatalogShape& catalog) {
  RoundDescription round;
  round.task = config.name;
  round.base_fingerprint = config.base_fingerprint;
  round.catalog_hash = catalog.hash;
  round.catalog_version = catalog.version;
  ASSIGN_OR_RETURN(round.secagg, GraphOf(config));
  round.layout = LayoutOf(config, catalog);
  round.training = config.training;
  RETURN_IF_ERROR(FillEncoding(config, &round));
  round.delta = config.delta;
  round.demonstration = config.demonstration;
  ASSIGN_OR_RETURN(round.epsilon, EpsilonOfRounds(config, round, 1));
  return round;
}

absl::StatusOr<RoundDescription> DescribeRound(const TaskConfig& config,
                                               const CatalogShape& catalog, uint64_t round_number,
                                               absl::Time now, RandomSource* random) {
  ASSIGN_OR_RETURN(RoundDescription round, PlanRound(config, catalog));
  round.round_number = round_number;
  random->Fill(round.encoding.rotation_seed);
  round.advertise_until = now + config.advertise;
  round.share_until = round.advertise_until + config.share;
  round.mask_until = round.share_until + config.mask;
  round.acknowledge_until = round.mask_until + config.acknowledge;
  round.unmask_until = round.acknowledge_until + config.unmask;
  // Through the wire's checks: what we sign, devices can read.  It also rounds the deadlines to
  // milliseconds and sets the session.
  return DecodeRoundDescription(Encode(round));
}

absl::StatusOr<RoundDescription> AdmitByToken(RoundDescription round, const TokenDemand& demand) {
  round.token = demand;
  return DecodeRoundDescription(Encode(round));
}

absl::StatusOr<double> EpsilonOfRounds(const TaskConfig& config, const RoundDescription& round,
                                       int64_t rounds) {
  return RoundEpsilon(round.encoding, HonestSurvivors(config), static_cast<int>(rounds),
                      config.delta);
}

}  // namespace lorikeet
