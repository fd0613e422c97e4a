// Conversions of the round description: what a device trusts about a round is checked here.
#include <bit>

#include "common/base/status_macros.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/wire_checks.h"

namespace lorikeet {
namespace {

using wire_internal::BytesToString;
using wire_internal::CheckHexHash;
using wire_internal::CheckRange;
using wire_internal::CheckReal;
using wire_internal::CheckText;
using wire_internal::FixedBytes;
using wire_internal::TimeFromMillis;

absl::Status ReadSecAgg(const proto::RoundDescription& from, SecAggParameters* to) {
  RETURN_IF_ERROR(CheckRange(from.cohort_min(), 2, kMaxCohort, "cohort_min"));
  RETURN_IF_ERROR(CheckRange(from.cohort_max(), from.cohort_min(), kMaxCohort, "cohort_max"));
  RETURN_IF_ERROR(CheckRange(from.degree(), 0, kMaxNeighbours, "degree"));
  RETURN_IF_ERROR(CheckRange(from.threshold(), 1, kMaxNeighbours, "threshold"));
  RETURN_IF_ERROR(CheckRange(from.secagg_dimension(), 1, kMaxDimension, "secagg_dimension"));
  RETURN_IF_ERROR(
      CheckRange(from.modulus_bits(), kMinModulusBits, kMaxModulusBits, "modulus_bits"));
  to->cohort_min = static_cast<int>(from.cohort_min());
  to->cohort_max = static_cast<int>(from.cohort_max());
  to->degree = static_cast<int>(from.degree());
  to->threshold = static_cast<int>(from.threshold());
  to->dimension = static_cast<int64_t>(from.secagg_dimension());
  to->modulus_bits = static_cast<int>(from.modulus_bits());
  return absl::OkStatus();
}

absl::Status ReadEncoding(const proto::RoundDescription& from, EncodingParameters* to) {
  RETURN_IF_ERROR(CheckRange(from.dimension(), 1, kMaxDimension, "dimension"));
  RETURN_IF_ERROR(CheckReal(from.clip_norm(), 1e-9, 1e9, "clip_norm"));
  RETURN_IF_ERROR(CheckReal(from.scale(), 1e-9, 1e12, "scale"));
  RETURN_IF_ERROR(CheckReal(from.sigma_local(), 0, 1e9, "sigma_local"));
  to->dimension = static_cast<int64_t>(from.dimension());
  to->clip_norm = from.clip_norm();
  to->scale = from.scale();
  to->sigma_local = from.sigma_local();
  to->modulus_bits = static_cast<int>(from.modulus_bits());
  ASSIGN_OR_RETURN(to->rotation_seed, FixedBytes<32>(from.rotation_seed(), "rotation_seed"));
  RETURN_IF_ERROR(
      CheckRange(from.noise(), 0, static_cast<uint64_t>(NoiseKind::kDiscreteGaussian), "noise"));
  to->noise = static_cast<NoiseKind>(from.noise());
  const uint64_t padded = std::bit_ceil(from.dimension());
  return CheckRange(from.secagg_dimension(), padded, padded, "secagg_dimension");
}

absl::Status ReadLayout(const proto::RoundDescription& from, UpdateLayout* to) {
  RETURN_IF_ERROR(CheckRange(from.persona_count(), 1, kMaxPersonas, "persona_count"));
  RETURN_IF_ERROR(CheckRange(from.block_size(), 1, kMaxDimension, "block_size"));
  RETURN_IF_ERROR(CheckReal(from.count_weight(), 0, 1e9, "count_weight"));
  RETURN_IF_ERROR(CheckReal(from.loss_weight(), 0, 1e9, "loss_weight"));
  RETURN_IF_ERROR(CheckReal(from.loss_bound(), 0, 1e9, "loss_bound"));
  RETURN_IF_ERROR(CheckRange(from.catalog_personas(), from.persona_count(), kMaxCatalogPersonas,
                             "catalog_personas"));
  RETURN_IF_ERROR(CheckRange(from.first_persona(), 0,
                             from.catalog_personas() - from.persona_count(), "first_persona"));
  to->persona_count = static_cast<int>(from.persona_count());
  to->first_persona = static_cast<int>(from.first_persona());
  to->catalog_personas = static_cast<int>(from.catalog_personas());
  to->block_size = static_cast<int64_t>(from.block_size());
  to->count_weight = from.count_weight();
  to->loss_weight = from.loss_weight();
  to->loss_bound = from.loss_bound();
  const uint64_t expected = static_cast<uint64_t>(to->dimension());
  return CheckRange(from.dimension(), expected, expected, "dimension for this layout");
}

absl::Status ReadTraining(const proto::RoundDescription& from, LocalTraining* to) {
  RETURN_IF_ERROR(CheckRange(from.training_steps(), 1, 1000000, "training_steps"));
  RETURN_IF_ERROR(CheckRange(from.training_batch(), 1, 4096, "training_batch"));
  RETURN_IF_ERROR(CheckRange(from.training_context(), 2, 1 << 20, "training_context"));
  RETURN_IF_ERROR(CheckReal(from.learning_rate(), 0, 1e3, "learning_rate"));
  to->steps = static_cast<int>(from.training_steps());
  to->batch_size = static_cast<int>(from.training_batch());
  to->context_length = static_cast<int>(from.training_context());
  to->learning_rate = from.learning_rate();
  return absl::OkStatus();
}

absl::Status ReadJoinFrom(const proto::RoundDescription& from, RoundDescription* to) {
  if (to->layout.routed() != (from.join_from_ms() != 0)) {
    return absl::InvalidArgumentError(
        to->layout.routed() ? "join_from: expected one in a routed round, got none"
                            : "join_from: expected none in a round for all personas, got one");
  }
  if (!to->layout.routed()) return absl::OkStatus();
  ASSIGN_OR_RETURN(to->join_from, TimeFromMillis(from.join_from_ms(), "join_from"));
  if (to->join_from < to->advertise_until) return absl::OkStatus();
  return absl::InvalidArgumentError("join_from: expected a time before advertise_until");
}

absl::Status ReadDeadlines(const proto::RoundDescription& from, RoundDescription* to) {
  ASSIGN_OR_RETURN(to->advertise_until,
                   TimeFromMillis(from.advertise_until_ms(), "advertise_until"));
  ASSIGN_OR_RETURN(to->share_until, TimeFromMillis(from.share_until_ms(), "share_until"));
  ASSIGN_OR_RETURN(to->mask_until, TimeFromMillis(from.mask_until_ms(), "mask_until"));
  ASSIGN_OR_RETURN(to->acknowledge_until,
                   TimeFromMillis(from.acknowledge_until_ms(), "acknowledge_until"));
  ASSIGN_OR_RETURN(to->unmask_until, TimeFromMillis(from.unmask_until_ms(), "unmask_until"));
  RETURN_IF_ERROR(ReadJoinFrom(from, to));
  const bool ordered = to->advertise_until < to->share_until && to->share_until < to->mask_until &&
                       to->mask_until < to->acknowledge_until &&
                       to->acknowledge_until < to->unmask_until;
  if (ordered) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "deadlines: expected advertise < share < mask < acknowledge < unmask");
}

absl::Status ReadTokenDemand(const proto::RoundDescription& from, RoundDescription* to) {
  if (from.token_key().empty()) return CheckRange(from.token_epoch(), 0, 0, "token_epoch");
  TokenDemand demand{.epoch = from.token_epoch()};
  ASSIGN_OR_RETURN(demand.key_id, FixedBytes<32>(from.token_key(), "token_key"));
  to->token = demand;
  return absl::OkStatus();
}

absl::Status ReadCentralNoise(const proto::RoundDescription& from, RoundDescription* to) {
  if (!from.has_central()) return absl::OkStatus();
  const proto::CentralNoise& noise = from.central();
  CentralNoise central;
  ASSIGN_OR_RETURN(central.mechanism, FixedBytes<32>(noise.mechanism(), "mechanism"));
  RETURN_IF_ERROR(CheckRange(noise.steps(), 1, kMaxNoiseSteps, "central noise steps"));
  RETURN_IF_ERROR(CheckRange(noise.step(), 0, noise.steps() - 1, "central noise step"));
  RETURN_IF_ERROR(CheckRange(noise.separation(), 1, noise.steps(), "separation"));
  RETURN_IF_ERROR(CheckRange(noise.participations(), 1, noise.steps(), "participations"));
  RETURN_IF_ERROR(CheckReal(noise.noise_multiplier(), 1e-9, 1e9, "central noise multiplier"));
  RETURN_IF_ERROR(CheckReal(from.sigma_local(), 0, 0, "sigma_local beside central noise"));
  central.steps = static_cast<int64_t>(noise.steps());
  central.step = static_cast<int64_t>(noise.step());
  central.separation = static_cast<int64_t>(noise.separation());
  central.participations = static_cast<int64_t>(noise.participations());
  central.noise_multiplier = noise.noise_multiplier();
  to->central = central;
  return absl::OkStatus();
}

void WriteCentralNoise(const CentralNoise& from, proto::CentralNoise* to) {
  to->set_mechanism(BytesToString(from.mechanism));
  to->set_steps(static_cast<uint64_t>(from.steps));
  to->set_step(static_cast<uint64_t>(from.step));
  to->set_separation(static_cast<uint64_t>(from.separation));
  to->set_participations(static_cast<uint64_t>(from.participations));
  to->set_noise_multiplier(from.noise_multiplier);
}

}  // namespace

void ToProto(const RoundDescription& from, proto::RoundDescription* to) {
  to->set_protocol_version(from.protocol_version);
  to->set_task(from.task);
  to->set_round_number(from.round_number);
  to->set_base_fingerprint(from.base_fingerprint);
  to->set_catalog_hash(from.catalog_hash);
  to->set_catalog_version(from.catalog_version);
  to->set_cohort_min(static_cast<uint32_t>(from.secagg.cohort_min));
  to->set_cohort_max(static_cast<uint32_t>(from.secagg.cohort_max));
  to->set_degree(static_cast<uint32_t>(from.secagg.degree));
  to->set_threshold(static_cast<uint32_t>(from.secagg.threshold));
  to->set_secagg_dimension(static_cast<uint64_t>(from.secagg.dimension));
  to->set_modulus_bits(static_cast<uint32_t>(from.secagg.modulus_bits));
  to->set_dimension(static_cast<uint64_t>(from.encoding.dimension));
  to->set_clip_norm(from.encoding.clip_norm);
  to->set_scale(from.encoding.scale);
  to->set_sigma_local(from.encoding.sigma_local);
  to->set_rotation_seed(BytesToString(from.encoding.rotation_seed));
  to->set_noise(static_cast<uint32_t>(from.encoding.noise));
  to->set_persona_count(static_cast<uint32_t>(from.layout.persona_count));
  to->set_first_persona(static_cast<uint32_t>(from.layout.first_persona));
  to->set_catalog_personas(static_cast<uint32_t>(from.layout.catalog_personas));
  to->set_block_size(static_cast<uint64_t>(from.layout.block_size));
  to->set_count_weight(from.layout.count_weight);
  to->set_loss_weight(from.layout.loss_weight);
  to->set_loss_bound(from.layout.loss_bound);
  to->set_training_steps(static_cast<uint32_t>(from.training.steps));
  to->set_training_batch(static_cast<uint32_t>(from.training.batch_size));
  to->set_training_context(static_cast<uint32_t>(from.training.context_length));
  to->set_learning_rate(from.training.learning_rate);
  to->set_advertise_until_ms(absl::ToUnixMillis(from.advertise_until));
  to->set_share_until_ms(absl::ToUnixMillis(from.share_until));
  to->set_mask_until_ms(absl::ToUnixMillis(from.mask_until));
  to->set_acknowledge_until_ms(absl::ToUnixMillis(from.acknowledge_until));
  to->set_unmask_until_ms(absl::ToUnixMillis(from.unmask_until));
  if (from.layout.routed()) to->set_join_from_ms(absl::ToUnixMillis(from.join_from));
  to->set_epsilon(from.epsilon);
  to->set_delta(from.delta);
  to->set_demonstration(from.demonstration);
  if (from.central) WriteCentralNoise(*from.central, to->mutable_central());
  if (from.token) {
    to->set_token_key(BytesToString(from.token->key_id));
    to->set_token_epoch(from.token->epoch);
  }
}

absl::StatusOr<RoundDescription> FromProto(const proto::RoundDescription& from) {
  RoundDescription to;
  if (from.protocol_version() != kProtocolVersion) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "round: expected protocol version %d, got %d", kProtocolVersion, from.protocol_version()));
  }
  to.protocol_version = from.protocol_version();
  RETURN_IF_ERROR(CheckText(from.task(), 1, kMaxNameBytes, "task"));
  to.task = from.task();
  to.round_number = from.round_number();
  RETURN_IF_ERROR(CheckHexHash(from.base_fingerprint(), "base_fingerprint"));
  to.base_fingerprint = from.base_fingerprint();
  RETURN_IF_ERROR(CheckHexHash(from.catalog_hash(), "catalog_hash"));
  to.catalog_hash = from.catalog_hash();
  to.catalog_version = from.catalog_version();
  RETURN_IF_ERROR(ReadSecAgg(from, &to.secagg));
  RETURN_IF_ERROR(ReadEncoding(from, &to.encoding));
  RETURN_IF_ERROR(ReadLayout(from, &to.layout));
  RETURN_IF_ERROR(ReadTraining(from, &to.training));
  RETURN_IF_ERROR(ReadDeadlines(from, &to));
  RETURN_IF_ERROR(CheckReal(from.epsilon(), 0, 1e12, "epsilon"));
  RETURN_IF_ERROR(CheckReal(from.delta(), 0, 1, "delta"));
  to.epsilon = from.epsilon();
  to.delta = from.delta();
  to.demonstration = from.demonstration();
  RETURN_IF_ERROR(ReadCentralNoise(from, &to));
  RETURN_IF_ERROR(ReadTokenDemand(from, &to));
  return to;
}

void ToProto(const SignedRoundDescription& from, proto::SignedRoundDescription* to) {
  to->set_description(from.description);
  to->set_signature(BytesToString(from.signature));
  to->set_key(BytesToString(from.key));
}

absl::StatusOr<SignedRoundDescription> FromProto(const proto::SignedRoundDescription& from) {
  SignedRoundDescription to;
  RETURN_IF_ERROR(CheckText(from.description(), 1, kMaxDescriptionBytes, "description"));
  to.description = from.description();
  ASSIGN_OR_RETURN(to.signature, FixedBytes<64>(from.signature(), "signature"));
  ASSIGN_OR_RETURN(to.key, FixedBytes<32>(from.key(), "key"));
  return to;
}

}  // namespace lorikeet
