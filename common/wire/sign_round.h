// Signing a round description and checking a signed one.
#ifndef LORIKEET_COMMON_WIRE_SIGN_ROUND_H_
#define LORIKEET_COMMON_WIRE_SIGN_ROUND_H_

#include "absl/status/statusor.h"
#include "common/crypto/sign.h"
#include "common/wire/round.h"

namespace lorikeet {

inline constexpr char kRoundLabel[] = "lorikeet-round-v1";

SignedRoundDescription SignRoundDescription(const RoundDescription& description,
                                            const SigningKey& key);

// The description, its session set to the hash of the signed bytes.
// PERMISSION_DENIED: signed by another key than the pinned one; DATA_LOSS: bad signature; else as
// DecodeRoundDescription.  Nothing of an unverified description is parsed.
absl::StatusOr<RoundDescription> VerifyRoundDescription(const SignedRoundDescription& signed_round,
                                                        const Ed25519PublicKey& pinned_key);

// BLAKE2b-256 of the description's bytes.
SessionId SessionOf(const SignedRoundDescription& signed_round);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_SIGN_ROUND_H_
