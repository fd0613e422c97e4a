// The round description: what the coordinator signs and every device checks before it takes part.
//
// session id = BLAKE2b-256 of the exact description bytes, so that a device that was shown another
// description derives masks that do not cancel.
#ifndef LORIKEET_COMMON_WIRE_ROUND_H_
#define LORIKEET_COMMON_WIRE_ROUND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/hash.h"
#include "common/dp/encoder.h"
#include "common/secagg/messages.h"

namespace lorikeet {

inline constexpr uint32_t kProtocolVersion = 1;

// The real vector of a contribution: K persona blocks of D core deltas (own block non-zero), K
// one-hot counts times count_weight, and two loss sums (before, after local training; clipped to
// [0, loss_bound]) times loss_weight.
//
// A routed round is for K personas (a bucket) of a larger catalog, those from first_persona on: the
// others have rounds of their own, which open together with it (a sweep), and a device shows by
// joining which of these its persona is in.
struct UpdateLayout {
  int persona_count = 0;     // K
  int first_persona = 0;     // index in the catalog of the first block
  int catalog_personas = 0;  // of the whole catalog; K where the round is for all of them
  int64_t block_size = 0;    // D
  double count_weight = 0;
  double loss_weight = 0;
  double loss_bound = 0;

  int64_t dimension() const { return persona_count * (block_size + 1) + 2; }
  bool routed() const { return persona_count < catalog_personas; }
};

// Noise that the coordinator adds to the sum of every round, correlated over the rounds
// (common/dp/matrix_noise.h): it sees the sum before.  One guarantee, RoundDescription's epsilon,
// covers all rounds of a mechanism for a device that keeps to separation and participations.
struct CentralNoise {
  Hash256 mechanism = {};       // the same in all of its rounds, and in no others
  int64_t steps = 0;            // rounds of the mechanism
  int64_t step = 0;             // of this round, from 0
  int64_t separation = 1;       // rounds from one contribution of a device to its next, at least
  int64_t participations = 1;   // contributions of a device, at most
  double noise_multiplier = 0;  // standard deviation, in sensitivities of the whole mechanism
};

struct LocalTraining {
  int steps = 0;
  int batch_size = 0;
  int context_length = 0;
  double learning_rate = 0;
};

// Which anonymous tokens (common/tokens) a round admits.
struct TokenDemand {
  uint64_t epoch = 0;
  Hash256 key_id = {};  // of the issuer's key of that epoch; the whole cohort sees the same
};

struct RoundDescription {
  uint32_t protocol_version = kProtocolVersion;
  std::string task;  // name
  uint64_t round_number = 0;
  std::string base_fingerprint;  // hex
  std::string catalog_hash;      // hex, of the catalog file's bytes
  uint64_t catalog_version = 0;
  SecAggParameters secagg;      // its session is not encoded: it is the hash of the whole
  EncodingParameters encoding;  // clip norm is of the whole vector
  UpdateLayout layout;
  std::optional<CentralNoise> central;  // present: devices add no noise (sigma_local is 0)
  LocalTraining training;
  // Routed rounds: devices that know of the round by then join at a random moment after it, so that
  // when one joins says nothing of when it was told.  Others: the past.
  absl::Time join_from = absl::InfinitePast();
  absl::Time advertise_until;  // deadlines of the five steps
  absl::Time share_until;
  absl::Time mask_until;
  absl::Time acknowledge_until;
  absl::Time unmask_until;
  double epsilon = 0;  // this round's guarantee at `delta` for cohort_min survivors, less the
                       // corrupt ones planned for
  double delta = 0;
  bool demonstration =
      false;  // a fleet too small for the strict rule; devices refuse unless they opted in
  std::optional<TokenDemand> token;  // absent: enrolled devices are admitted by name
};

struct SignedRoundDescription {
  std::string description;  // encoded RoundDescription
  Ed25519Signature signature = {};
  Ed25519PublicKey key = {};
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_ROUND_H_
