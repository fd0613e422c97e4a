// Well-formed messages of every kind, to be broken by tests.
#ifndef LORIKEET_TESTS_UNIT_WIRE_WIRE_SAMPLES_H_
#define LORIKEET_TESTS_UNIT_WIRE_WIRE_SAMPLES_H_

#include <string>

#include "common/base/random.h"
#include "common/wire/federation.h"
#include "common/wire/round.h"

namespace lorikeet {

template <typename Array>
Array FilledWith(uint8_t value) {
  Array array;
  array.fill(value);
  return array;
}

inline KeyAdvertisement SampleAdvertisement(uint8_t seed = 1) {
  return {.session = FilledWith<SessionId>(9),
          .mask_key = FilledWith<X25519PublicKey>(seed),
          .transport_key = FilledWith<X25519PublicKey>(seed + 1),
          .signing_key = FilledWith<Ed25519PublicKey>(seed + 2)};
}

inline Acknowledgement SampleAcknowledgement() {
  return {.session = FilledWith<SessionId>(9),
          .sender = 3,
          .alive = {0, 3, 7},
          .dropped = {1},
          .signature = FilledWith<Ed25519Signature>(5)};
}

inline JoinRequest SampleJoinRequest() {
  return {.keys = SampleAdvertisement(),
          .token = Token{.nonce = FilledWith<TokenNonce>(3),
                         .epoch = 12,
                         .key_id = FilledWith<Hash256>(4),
                         .keys_hash = FilledWith<Hash256>(5),
                         .output = FilledWith<VoprfOutput>(6)}};
}

inline IssueRequest SampleIssueRequest() {
  SeededRandom random("wire sample", 1);
  IssueRequest request{.epoch = 12, .blinded = {}};
  for (uint8_t i = 0; i < 2; ++i) {
    request.blinded.push_back(VoprfBlind(std::span(&i, 1), &random).value().element);
  }
  return request;
}

inline BatchEvaluation SampleEvaluation() {
  SeededRandom random("wire sample", 2);
  const VoprfKey key = VoprfKey::Derive(SecretBytes(kVoprfSeedBytes), {}).value();
  return VoprfBlindEvaluate(key, SampleIssueRequest().blinded, &random).value();
}

inline RoundDescription SampleRound() {
  RoundDescription round;
  round.task = "voices";
  round.round_number = 4;
  round.base_fingerprint = std::string(64, 'a');
  round.catalog_hash = std::string(64, 'b');
  round.catalog_version = 7;
  round.layout = {.persona_count = 3,
                  .first_persona = 2,
                  .catalog_personas = 7,
                  .block_size = 8,
                  .count_weight = 0.5,
                  .loss_weight = 0.25,
                  .loss_bound = 10};
  round.encoding = {.dimension = 29,
                    .clip_norm = 1.5,
                    .scale = 100,
                    .sigma_local = 0.25,
                    .modulus_bits = 20,
                    .rotation_seed = FilledWith<Hash256>(3)};
  round.secagg.cohort_min = 3;
  round.secagg.cohort_max = 10;
  round.secagg.degree = 0;
  round.secagg.threshold = 2;
  round.secagg.dimension = 32;
  round.secagg.modulus_bits = 20;
  round.training = {.steps = 5, .batch_size = 2, .context_length = 64, .learning_rate = 0.01};
  round.join_from = absl::FromUnixSeconds(990);
  round.advertise_until = absl::FromUnixSeconds(1000);
  round.share_until = absl::FromUnixSeconds(1010);
  round.mask_until = absl::FromUnixSeconds(1020);
  round.acknowledge_until = absl::FromUnixSeconds(1030);
  round.unmask_until = absl::FromUnixSeconds(1040);
  round.epsilon = 12.5;
  round.delta = 1e-5;
  round.demonstration = true;
  return round;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_WIRE_WIRE_SAMPLES_H_
