#include "common/tokens/voprf.h"

#include <sodium.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// The suite's name ends every domain: "OPRFV1-" | mode 1 | "-ristretto255-SHA512".
#define LORIKEET_VOPRF_CONTEXT "OPRFV1-\x01-ristretto255-SHA512"
constexpr std::string_view kGroupDomain = "HashToGroup-" LORIKEET_VOPRF_CONTEXT;
constexpr std::string_view kScalarDomain = "HashToScalar-" LORIKEET_VOPRF_CONTEXT;
constexpr std::string_view kKeyDomain = "DeriveKeyPair" LORIKEET_VOPRF_CONTEXT;
constexpr std::string_view kSeedDomain = "Seed-" LORIKEET_VOPRF_CONTEXT;
#undef LORIKEET_VOPRF_CONTEXT

using TwoBytes = std::array<uint8_t, 2>;

// I2OSP(value, 2): big-endian.  REQUIRES: value <= 65535.
TwoBytes Big16(size_t value) {
  return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}

constexpr TwoBytes kElementSize = {0, kElementBytes};

absl::Status CheckInput(std::span<const uint8_t> input) {
  if (input.size() <= kVoprfMaxInputBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "VOPRF input: expected at most %d bytes, got %d", kVoprfMaxInputBytes, input.size()));
}

absl::Status CheckBatch(size_t size) {
  if (size >= 1 && size <= kVoprfMaxBatch) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("VOPRF batch: expected 1 to %d elements, got %d", kVoprfMaxBatch, size));
}

// The weights d_i of the batch follow from all that is proven, so that errors cannot cancel.
class CompositeWeights {
 public:
  explicit CompositeWeights(const GroupElement& public_key) {
    const TwoBytes seed_domain_size = Big16(kSeedDomain.size());
    crypto_hash_sha512_state hash;
    crypto_hash_sha512_init(&hash);
    crypto_hash_sha512_update(&hash, kElementSize.data(), kElementSize.size());
    crypto_hash_sha512_update(&hash, public_key.bytes().data(), kElementBytes);
    crypto_hash_sha512_update(&hash, seed_domain_size.data(), seed_domain_size.size());
    crypto_hash_sha512_update(&hash, AsBytes(kSeedDomain).data(), kSeedDomain.size());
    crypto_hash_sha512_final(&hash, seed_.data());
  }

  ScalarBytes Of(size_t index, const GroupElement& blinded, const GroupElement& evaluated) const {
    return HashToScalar({Big16(seed_.size()), seed_, Big16(index), kElementSize, blinded.bytes(),
                         kElementSize, evaluated.bytes(), AsBytes("Composite")},
                        kScalarDomain);
  }

 private:
  std::array<uint8_t, crypto_hash_sha512_BYTES> seed_;
};

// What the challenge is about, all of it encoded.
struct Transcript {
  std::span<const uint8_t> public_key;
  std::span<const uint8_t> blinded;          // M
  std::span<const uint8_t> evaluated;        // Z
  std::span<const uint8_t> commitment;       // r * G
  std::span<const uint8_t> commitment_of_m;  // r * M
};

ScalarBytes Challenge(const Transcript& t) {
  return HashToScalar(
      {kElementSize, t.public_key, kElementSize, t.blinded, kElementSize, t.evaluated, kElementSize,
       t.commitment, kElementSize, t.commitment_of_m, AsBytes("Challenge")},
      kScalarDomain);
}

VoprfOutput FinishOutput(std::span<const uint8_t> input, const GroupElement& unblinded) {
  const TwoBytes size = Big16(input.size());
  constexpr std::string_view kFinalize = "Finalize";
  crypto_hash_sha512_state hash;
  crypto_hash_sha512_init(&hash);
  crypto_hash_sha512_update(&hash, size.data(), size.size());
  crypto_hash_sha512_update(&hash, input.data(), input.size());
  crypto_hash_sha512_update(&hash, kElementSize.data(), kElementSize.size());
  crypto_hash_sha512_update(&hash, unblinded.bytes().data(), kElementBytes);
  crypto_hash_sha512_update(&hash, AsBytes(kFinalize).data(), kFinalize.size());
  VoprfOutput output;
  crypto_hash_sha512_final(&hash, output.data());
  sodium_memzero(&hash, sizeof hash);
  return output;
}

}  // namespace

absl::StatusOr<VoprfKey> VoprfKey::Derive(const SecretBytes& seed, std::span<const uint8_t> info) {
  if (seed.size_bytes() != kVoprfSeedBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("VOPRF key seed: expected %d bytes, got %d",
                                                      kVoprfSeedBytes, seed.size_bytes()));
  }
  RETURN_IF_ERROR(CheckInput(info));
  // The RFC counts on where the scalar is zero; with probability 2^-252 this is an error instead.
  const TwoBytes info_size = Big16(info.size());
  constexpr std::array<uint8_t, 1> kCounter = {0};
  ASSIGN_OR_RETURN(
      SecretScalar secret,
      HashToSecretScalar({seed.Open(SecretAccess("derive a VOPRF key")), info_size, info, kCounter},
                         kKeyDomain));
  return VoprfKey(std::move(secret));
}

absl::StatusOr<DleqProof> DleqProof::Decode(std::span<const uint8_t> bytes) {
  if (bytes.size() != kVoprfProofBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("proof: expected %d bytes, got %d", kVoprfProofBytes, bytes.size()));
  }
  DleqProof proof;
  ASSIGN_OR_RETURN(proof.challenge, DecodeScalar(bytes.first(kScalarBytes)));
  ASSIGN_OR_RETURN(proof.response, DecodeScalar(bytes.last(kScalarBytes)));
  return proof;
}

std::array<uint8_t, kVoprfProofBytes> DleqProof::Encode() const {
  std::array<uint8_t, kVoprfProofBytes> bytes;
  std::copy(challenge.begin(), challenge.end(), bytes.begin());
  std::copy(response.begin(), response.end(), bytes.begin() + kScalarBytes);
  return bytes;
}

absl::StatusOr<BlindedInput> VoprfBlind(std::span<const uint8_t> input, RandomSource* random) {
  RETURN_IF_ERROR(CheckInput(input));
  SecretScalar blind = SecretScalar::Random(random);
  const GroupElement element = HashToGroup({input}, kGroupDomain).Times(blind);
  return BlindedInput{.blind = std::move(blind), .element = element};
}

absl::StatusOr<BatchEvaluation> VoprfBlindEvaluate(const VoprfKey& key,
                                                   std::span<const GroupElement> blinded,
                                                   RandomSource* random) {
  RETURN_IF_ERROR(CheckBatch(blinded.size()));
  BatchEvaluation result;
  result.elements.reserve(blinded.size());
  const CompositeWeights weights(key.public_key());
  ElementSum sum;
  for (size_t i = 0; i < blinded.size(); ++i) {
    result.elements.push_back(blinded[i].Times(key.secret()));
    sum.Add(weights.Of(i, blinded[i], result.elements[i]), blinded[i]);
  }
  ASSIGN_OR_RETURN(const GroupElement composite, sum.ToElement());
  const SecretScalar commitment = SecretScalar::Random(random);
  result.proof.challenge = Challenge({.public_key = key.public_key().bytes(),
                                      .blinded = composite.bytes(),
                                      .evaluated = composite.Times(key.secret()).bytes(),
                                      .commitment = GeneratorTimes(commitment).bytes(),
                                      .commitment_of_m = composite.Times(commitment).bytes()});
  result.proof.response = commitment.MinusProduct(result.proof.challenge, key.secret());
  return result;
}

absl::Status VerifyEvaluation(const GroupElement& public_key, std::span<const GroupElement> blinded,
                              const BatchEvaluation& evaluation) {
  RETURN_IF_ERROR(CheckBatch(blinded.size()));
  if (evaluation.elements.size() != blinded.size()) {
    return absl::InvalidArgumentError(absl::StrFormat("evaluation: expected %d elements, got %d",
                                                      blinded.size(), evaluation.elements.size()));
  }
  const CompositeWeights weights(public_key);
  ElementSum sum, evaluated_sum;
  for (size_t i = 0; i < blinded.size(); ++i) {
    const ScalarBytes weight = weights.Of(i, blinded[i], evaluation.elements[i]);
    sum.Add(weight, blinded[i]);
    evaluated_sum.Add(weight, evaluation.elements[i]);
  }
  const absl::Status refused = absl::DataLossError(absl::StrFormat(
      "evaluation of %d blinded inputs: expected a proof that one key, the published one, made all "
      "of them; the proof does not hold",
      blinded.size()));
  const auto composite = sum.ToElement(), evaluated = evaluated_sum.ToElement();
  if (!composite.ok() || !evaluated.ok()) return refused;
  const auto& [challenge, response] = evaluation.proof;
  ElementSum commitment, commitment_of_m;
  commitment.AddGenerator(response);
  commitment.Add(challenge, public_key);
  commitment_of_m.Add(response, *composite);
  commitment_of_m.Add(challenge, *evaluated);
  const ScalarBytes expected = Challenge({.public_key = public_key.bytes(),
                                          .blinded = composite->bytes(),
                                          .evaluated = evaluated->bytes(),
                                          .commitment = commitment.bytes(),
                                          .commitment_of_m = commitment_of_m.bytes()});
  return sodium_memcmp(expected.data(), challenge.data(), kScalarBytes) == 0 ? absl::OkStatus()
                                                                             : refused;
}

absl::StatusOr<VoprfOutput> VoprfFinalize(std::span<const uint8_t> input, const SecretScalar& blind,
                                          const GroupElement& evaluated) {
  RETURN_IF_ERROR(CheckInput(input));
  return FinishOutput(input, evaluated.Times(blind.Inverse()));
}

absl::StatusOr<VoprfOutput> VoprfEvaluate(const VoprfKey& key, std::span<const uint8_t> input) {
  RETURN_IF_ERROR(CheckInput(input));
  return FinishOutput(input, HashToGroup({input}, kGroupDomain).Times(key.secret()));
}

bool SameOutput(const VoprfOutput& one, const VoprfOutput& other) {
  return sodium_memcmp(one.data(), other.data(), one.size()) == 0;
}

}  // namespace lorikeet
