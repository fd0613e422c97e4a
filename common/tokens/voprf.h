// The verifiable oblivious pseudorandom function VOPRF(ristretto255, SHA-512): RFC 9497, mode 1.
//
// The issuer evaluates a keyed function on an input that it cannot see and proves, once for a whole
// batch, that it used the key whose public half everybody knows.  Nothing that it saw while
// evaluating links to what it is shown later.
//
//   device                                   issuer
//   VoprfBlind(input) -> element  ------->   VoprfBlindEvaluate(key, elements)
//   VoprfFinalize(..., evaluation) <------   elements, proof
//   (input, output)               ------->   VoprfEvaluate(key, input) == output ?
//
// Time does not depend on keys, blinds, or inputs, except for their sizes.  Pure; thread-safe.
#ifndef LORIKEET_COMMON_TOKENS_VOPRF_H_
#define LORIKEET_COMMON_TOKENS_VOPRF_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret_bytes.h"
#include "common/tokens/ristretto.h"

namespace lorikeet {

inline constexpr size_t kVoprfSeedBytes = 32;
inline constexpr size_t kVoprfProofBytes = 2 * kScalarBytes;
inline constexpr size_t kVoprfMaxInputBytes = 65535;
inline constexpr size_t kVoprfMaxBatch = 65535;
using VoprfOutput = std::array<uint8_t, 64>;

// Move-only; wiped when destroyed.
class VoprfKey {
 public:
  // DeriveKeyPair: the same seed and info give the same key.  INVALID_ARGUMENT: the seed is not 32
  // bytes, or info is longer than 65535.
  static absl::StatusOr<VoprfKey> Derive(const SecretBytes& seed, std::span<const uint8_t> info);

  const GroupElement& public_key() const { return public_key_; }
  const SecretScalar& secret() const { return secret_; }

 private:
  explicit VoprfKey(SecretScalar secret)
      : secret_(std::move(secret)), public_key_(GeneratorTimes(secret_)) {}
  SecretScalar secret_;
  GroupElement public_key_;
};

// A non-interactive proof (Chaum-Pedersen) that one scalar relates all pairs of a batch.
struct DleqProof {
  ScalarBytes challenge = {};
  ScalarBytes response = {};

  // challenge | response.  INVALID_ARGUMENT: not 64 bytes, or not scalars (see DecodeScalar).
  static absl::StatusOr<DleqProof> Decode(std::span<const uint8_t> bytes);
  std::array<uint8_t, kVoprfProofBytes> Encode() const;
};

struct BlindedInput {
  SecretScalar blind;    // stays on the device until VoprfFinalize
  GroupElement element;  // for the issuer
};

struct BatchEvaluation {
  std::vector<GroupElement> elements;  // of the batch, in its order
  DleqProof proof;
};

// INVALID_ARGUMENT: the input is longer than 65535 bytes.
absl::StatusOr<BlindedInput> VoprfBlind(std::span<const uint8_t> input, RandomSource* random);

// Two multiplications an element: one for the result, and one for the proof, whose second composite
// follows from the first and the key (RFC 9497, ComputeCompositesFast).
// INVALID_ARGUMENT: an empty batch, or more than 65535 elements.
absl::StatusOr<BatchEvaluation> VoprfBlindEvaluate(const VoprfKey& key,
                                                   std::span<const GroupElement> blinded,
                                                   RandomSource* random);

// INVALID_ARGUMENT: the sizes differ or are out of range; DATA_LOSS: the proof does not hold: at
// least one element was not evaluated with the key of `public_key`.
absl::Status VerifyEvaluation(const GroupElement& public_key, std::span<const GroupElement> blinded,
                              const BatchEvaluation& evaluation);

// The output for one input.  Only for an evaluation that VerifyEvaluation accepted.
// INVALID_ARGUMENT: the input is longer than 65535 bytes.
absl::StatusOr<VoprfOutput> VoprfFinalize(std::span<const uint8_t> input, const SecretScalar& blind,
                                          const GroupElement& evaluated);

// The same output, from the key.  INVALID_ARGUMENT as above.
absl::StatusOr<VoprfOutput> VoprfEvaluate(const VoprfKey& key, std::span<const uint8_t> input);

// Time does not depend on where they differ.
bool SameOutput(const VoprfOutput& one, const VoprfOutput& other);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENS_VOPRF_H_
