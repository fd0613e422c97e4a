#include "common/tokens/ristretto.h"

#include <sodium.h>

#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

static_assert(kElementBytes == crypto_core_ristretto255_BYTES);
static_assert(kScalarBytes == crypto_core_ristretto255_SCALARBYTES);

// The reduction takes as many bytes as the hash to the group.
constexpr size_t kWideBytes = crypto_core_ristretto255_HASHBYTES;
static_assert(kWideBytes == crypto_core_ristretto255_NONREDUCEDSCALARBYTES);
static_assert(kWideBytes == crypto_hash_sha512_BYTES);

// The group's order 2^252 + 27742317777372353535851937790883648493, little-endian.
constexpr ScalarBytes kOrder = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                0xa2, 0xde, 0xf9, 0xde, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10};

SecretAccess Arithmetic() { return SecretAccess("arithmetic of anonymous tokens"); }

// Looks at every byte, whatever came before: scalars of devices and issuers are checked too.
absl::Status CheckScalar(std::span<const uint8_t> bytes) {
  if (bytes.size() != kScalarBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("scalar: expected %d bytes, got %d", kScalarBytes, bytes.size()));
  }
  unsigned borrow = 0;
  for (size_t i = 0; i < kScalarBytes; ++i) {
    borrow = ((unsigned{bytes[i]} - kOrder[i] - borrow) >> 8) & 1;
  }
  if (borrow == 0) {
    return absl::InvalidArgumentError(
        "scalar: expected a value below the group's order, got a larger one");
  }
  if (sodium_is_zero(bytes.data(), bytes.size()) == 1) {
    return absl::InvalidArgumentError("scalar: expected a value above zero, got zero");
  }
  return absl::OkStatus();
}

class Sha512 {
 public:
  Sha512() { crypto_hash_sha512_init(&state_); }
  ~Sha512() { sodium_memzero(&state_, sizeof state_); }
  Sha512(const Sha512&) = delete;
  Sha512& operator=(const Sha512&) = delete;

  void Update(std::span<const uint8_t> bytes) {
    crypto_hash_sha512_update(&state_, bytes.data(), bytes.size());
  }
  void UpdateByte(uint8_t byte) { Update(std::span(&byte, 1)); }
  void Finish(std::span<uint8_t, kWideBytes> out) { crypto_hash_sha512_final(&state_, out.data()); }

 private:
  crypto_hash_sha512_state state_;
};

}  // namespace

absl::StatusOr<GroupElement> GroupElement::Decode(std::span<const uint8_t> bytes) {
  InitSodium();
  if (bytes.size() != kElementBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("group element: expected %d bytes, got %d", kElementBytes, bytes.size()));
  }
  // libsodium 1.0.18 does not look at the highest bit.
  if ((bytes.back() & 0x80) != 0 || crypto_core_ristretto255_is_valid_point(bytes.data()) != 1) {
    return absl::InvalidArgumentError(
        "group element: expected the canonical encoding of a point of ristretto255, got other "
        "bytes");
  }
  if (sodium_is_zero(bytes.data(), bytes.size()) == 1) {
    return absl::InvalidArgumentError(
        "group element: expected a point that is not the identity, got the identity");
  }
  GroupElement element;
  std::copy(bytes.begin(), bytes.end(), element.bytes_.begin());
  return element;
}

GroupElement GroupElement::Times(const SecretScalar& scalar) const {
  GroupElement product;
  LORIKEET_CHECK(crypto_scalarmult_ristretto255(product.bytes_.data(),
                                                scalar.bytes_.Open(Arithmetic()).data(),
                                                bytes_.data()) == 0);
  return product;
}

GroupElement GeneratorTimes(const SecretScalar& scalar) {
  GroupElement product;
  LORIKEET_CHECK(crypto_scalarmult_ristretto255_base(product.bytes_.data(),
                                                     scalar.bytes_.Open(Arithmetic()).data()) == 0);
  return product;
}

SecretScalar SecretScalar::Random(RandomSource* random) {
  InitSodium();
  const SecretBytes wide = SecretBytes::Random(kWideBytes, random);
  SecretBytes scalar(kScalarBytes);
  crypto_core_ristretto255_scalar_reduce(scalar.OpenMutable(Arithmetic()).data(),
                                         wide.Open(Arithmetic()).data());
  return SecretScalar(std::move(scalar));
}

absl::StatusOr<SecretScalar> SecretScalar::FromBytes(const SecretBytes& bytes) {
  InitSodium();
  RETURN_IF_ERROR(CheckScalar(bytes.Open(Arithmetic())));
  return SecretScalar(bytes.Clone());
}

SecretScalar SecretScalar::Inverse() const {
  SecretBytes inverse(kScalarBytes);
  LORIKEET_CHECK(crypto_core_ristretto255_scalar_invert(inverse.OpenMutable(Arithmetic()).data(),
                                                        bytes_.Open(Arithmetic()).data()) == 0);
  return SecretScalar(std::move(inverse));
}

ScalarBytes SecretScalar::MinusProduct(const ScalarBytes& factor, const SecretScalar& other) const {
  SecretBytes product(kScalarBytes);
  crypto_core_ristretto255_scalar_mul(product.OpenMutable(Arithmetic()).data(), factor.data(),
                                      other.bytes_.Open(Arithmetic()).data());
  ScalarBytes difference;
  crypto_core_ristretto255_scalar_sub(difference.data(), bytes_.Open(Arithmetic()).data(),
                                      product.Open(Arithmetic()).data());
  return difference;
}

// libsodium reports a product that is the identity, which adds nothing.
void ElementSum::Add(const ScalarBytes& scalar, const GroupElement& element) {
  std::array<uint8_t, kElementBytes> product;
  if (crypto_scalarmult_ristretto255(product.data(), scalar.data(), element.bytes_.data()) == 0) {
    AddPoint(product);
  }
}

void ElementSum::AddGenerator(const ScalarBytes& scalar) {
  std::array<uint8_t, kElementBytes> product;
  if (crypto_scalarmult_ristretto255_base(product.data(), scalar.data()) == 0) AddPoint(product);
}

void ElementSum::AddPoint(const std::array<uint8_t, kElementBytes>& point) {
  LORIKEET_CHECK(crypto_core_ristretto255_add(bytes_.data(), bytes_.data(), point.data()) == 0);
}

absl::StatusOr<ScalarBytes> DecodeScalar(std::span<const uint8_t> bytes) {
  InitSodium();
  RETURN_IF_ERROR(CheckScalar(bytes));
  ScalarBytes scalar;
  std::copy(bytes.begin(), bytes.end(), scalar.begin());
  return scalar;
}

// b_0 = H(Z_pad | message | I2OSP(64, 2) | I2OSP(0, 1) | DST'), b_1 = H(b_0 | I2OSP(1, 1) | DST'):
// one block of SHA-512 is the whole output.
SecretBytes ExpandMessage(std::initializer_list<std::span<const uint8_t>> message,
                          std::string_view domain) {
  InitSodium();
  LORIKEET_CHECK(!domain.empty() && domain.size() <= 255);
  constexpr std::array<uint8_t, 128> kZeroPad = {};  // SHA-512's block
  constexpr std::array<uint8_t, 3> kLength = {0, kWideBytes, 0};
  const auto domain_size = static_cast<uint8_t>(domain.size());
  SecretBytes first(kWideBytes);
  {
    Sha512 hash;
    hash.Update(kZeroPad);
    for (const auto part : message) hash.Update(part);
    hash.Update(kLength);
    hash.Update(AsBytes(domain));
    hash.UpdateByte(domain_size);
    hash.Finish(first.OpenMutable(Arithmetic()).first<kWideBytes>());
  }
  SecretBytes out(kWideBytes);
  Sha512 hash;
  hash.Update(first.Open(Arithmetic()));
  hash.UpdateByte(1);
  hash.Update(AsBytes(domain));
  hash.UpdateByte(domain_size);
  hash.Finish(out.OpenMutable(Arithmetic()).first<kWideBytes>());
  return out;
}

// The map is onto, so the identity can come out, with probability 2^-252.
GroupElement HashToGroup(std::initializer_list<std::span<const uint8_t>> message,
                         std::string_view domain) {
  const SecretBytes wide = ExpandMessage(message, domain);
  GroupElement element;
  crypto_core_ristretto255_from_hash(element.bytes_.data(), wide.Open(Arithmetic()).data());
  return element;
}

ScalarBytes HashToScalar(std::initializer_list<std::span<const uint8_t>> message,
                         std::string_view domain) {
  const SecretBytes wide = ExpandMessage(message, domain);
  ScalarBytes scalar;
  crypto_core_ristretto255_scalar_reduce(scalar.data(), wide.Open(Arithmetic()).data());
  return scalar;
}

absl::StatusOr<SecretScalar> HashToSecretScalar(
    std::initializer_list<std::span<const uint8_t>> message, std::string_view domain) {
  const SecretBytes wide = ExpandMessage(message, domain);
  SecretBytes scalar(kScalarBytes);
  crypto_core_ristretto255_scalar_reduce(scalar.OpenMutable(Arithmetic()).data(),
                                         wide.Open(Arithmetic()).data());
  return SecretScalar::FromBytes(scalar);
}

}  // namespace lorikeet
