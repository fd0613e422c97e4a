// Shamir's secret sharing of 32-byte secrets over the field of 2^61 - 1 elements.
//
// A prime field, not GF(256): more than 255 holders.  A secret is cut into five limbs (four of 7
// bytes, one of 4), each shared by its own random polynomial of degree threshold - 1.  A share is
// the five values at the holder's point, 8 bytes each, little-endian.  Splitting is constant time
// in the secret and its randomness.  Recovery is for secrets that are being made public and is not.
#ifndef LORIKEET_COMMON_SECAGG_SHAMIR_H_
#define LORIKEET_COMMON_SECAGG_SHAMIR_H_

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

inline constexpr size_t kSharedSecretBytes = 32;
inline constexpr int kShareLimbs = 5;
inline constexpr size_t kShareBytes = 8 * kShareLimbs;

using ShamirShare = std::array<uint64_t, kShareLimbs>;  // values below the prime

// A share at a point: a holder's point is its client index plus one.
struct PointShare {
  uint64_t point = 0;
  ShamirShare share = {};
};

// One share per point, encoded, one after the other.  REQUIRES: secret of 32 bytes; 1 <= threshold
// <= points.size(); points distinct, non-zero and below the prime.
SecretBytes SplitSecret(const SecretBytes& secret, int threshold, std::span<const uint64_t> points,
                        RandomSource* random);

// INVALID_ARGUMENT: not kShareBytes, or a value not below the prime.
absl::StatusOr<ShamirShare> DecodeShare(std::span<const uint8_t> bytes);

struct RecoveredSecret {
  SecretBytes secret;
  std::vector<uint64_t> wrong_points;  // whose shares do not lie on the recovered polynomials
};

// The secret, if all shares lie on polynomials of degree below `threshold` and `is_right` accepts
// it; else nothing: see RecoverSecret.  The check is one random linear combination of the shares
// for each limb; wrong ones pass it with probability below shares.size() / 2^60.  O(n^2).
// Thread-safe.  REQUIRES: at least `threshold` shares.
std::optional<SecretBytes> RecoverFromAll(std::span<const PointShare> shares, int threshold,
                                          const std::function<bool(const SecretBytes&)>& is_right);

// Finds the secret that `is_right` accepts (a commitment or a public key decides) among shares of
// which some may be wrong.  All right: RecoverFromAll.  Up to (shares - threshold) / 2 wrong:
// decoding of Reed and Solomon codes (Gao 2003).  More, while at least `threshold` are right: a
// bounded search over subsets. INVALID_ARGUMENT: fewer than `threshold` shares, or a point twice;
// DATA_LOSS: no acceptable secret found.
absl::StatusOr<RecoveredSecret> RecoverSecret(
    std::span<const PointShare> shares, int threshold,
    const std::function<bool(const SecretBytes&)>& is_right);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_SHAMIR_H_
