// The prime-order group ristretto255 (RFC 9496, through libsodium) as checked types, and hashing to
// it (RFC 9380, expand_message_xmd with SHA-512).
//
// A GroupElement is canonical and not the identity; a SecretScalar is canonical and not zero: what
// has the type needs no further check.  Everything that touches a SecretScalar takes time that does
// not depend on it.  Not a general curve library: only what common/tokens/voprf.h needs.
#ifndef LORIKEET_COMMON_TOKENS_RISTRETTO_H_
#define LORIKEET_COMMON_TOKENS_RISTRETTO_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret_bytes.h"

namespace lorikeet {

inline constexpr size_t kElementBytes = 32;
inline constexpr size_t kScalarBytes = 32;
using ScalarBytes = std::array<uint8_t, kScalarBytes>;  // public, little-endian, below the order

class SecretScalar;

// Public.
class GroupElement {
 public:
  // INVALID_ARGUMENT: not 32 bytes, not a canonical encoding, or the identity.
  static absl::StatusOr<GroupElement> Decode(std::span<const uint8_t> bytes);

  const std::array<uint8_t, kElementBytes>& bytes() const { return bytes_; }

  // scalar * this.  The product of two values that are neither zero nor the identity is neither,
  // as the order is prime.
  GroupElement Times(const SecretScalar& scalar) const;

  friend bool operator==(const GroupElement&, const GroupElement&) = default;

 private:
  friend class ElementSum;
  friend GroupElement HashToGroup(std::initializer_list<std::span<const uint8_t>> message,
                                  std::string_view domain);
  friend GroupElement GeneratorTimes(const SecretScalar& scalar);
  GroupElement() = default;
  std::array<uint8_t, kElementBytes> bytes_ = {};
};

// Move-only; wiped when destroyed.
class SecretScalar {
 public:
  // Uniform (64 bytes of randomness, reduced).
  static SecretScalar Random(RandomSource* random);
  // INVALID_ARGUMENT: not 32 bytes, not below the order, or zero.
  static absl::StatusOr<SecretScalar> FromBytes(const SecretBytes& bytes);

  SecretScalar Inverse() const;
  // this - factor * other, for Schnorr's response.
  ScalarBytes MinusProduct(const ScalarBytes& factor, const SecretScalar& other) const;
  SecretScalar Clone() const { return SecretScalar(bytes_.Clone()); }

 private:
  friend class GroupElement;
  friend GroupElement GeneratorTimes(const SecretScalar& scalar);
  explicit SecretScalar(SecretBytes bytes) : bytes_(std::move(bytes)) {}
  SecretBytes bytes_;
};

// A sum of multiples by public scalars; may be the identity, which is why it is not a GroupElement.
class ElementSum {
 public:
  void Add(const ScalarBytes& scalar, const GroupElement& element);
  void AddGenerator(const ScalarBytes& scalar);
  const std::array<uint8_t, kElementBytes>& bytes() const { return bytes_; }
  // INVALID_ARGUMENT: the sum is the identity.
  absl::StatusOr<GroupElement> ToElement() const { return GroupElement::Decode(bytes_); }

 private:
  void AddPoint(const std::array<uint8_t, kElementBytes>& point);
  std::array<uint8_t, kElementBytes> bytes_ = {};  // the identity's encoding
};

GroupElement GeneratorTimes(const SecretScalar& scalar);

// Scalars read from a peer.  INVALID_ARGUMENT: not 32 bytes, or not below the order, or zero (which
// an honest peer sends with probability 2^-252).
absl::StatusOr<ScalarBytes> DecodeScalar(std::span<const uint8_t> bytes);

// RFC 9380, section 5.3.1, with SHA-512 and 64 bytes of output: all that this group needs.
// `message` is the concatenation of its parts.  REQUIRES: 1 <= domain.size() <= 255.
SecretBytes ExpandMessage(std::initializer_list<std::span<const uint8_t>> message,
                          std::string_view domain);
// RFC 9497, section 4.1: hash_to_ristretto255 and the reduction of the 64 bytes.
GroupElement HashToGroup(std::initializer_list<std::span<const uint8_t>> message,
                         std::string_view domain);
ScalarBytes HashToScalar(std::initializer_list<std::span<const uint8_t>> message,
                         std::string_view domain);
// The same for a secret message.  INVALID_ARGUMENT: the result is zero.
absl::StatusOr<SecretScalar> HashToSecretScalar(
    std::initializer_list<std::span<const uint8_t>> message, std::string_view domain);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENS_RISTRETTO_H_
