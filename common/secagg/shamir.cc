#include "common/secagg/shamir.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/secagg/field.h"
#include "common/secagg/reed_solomon.h"

namespace lorikeet {
namespace {

using field::Add;
using field::Invert;
using field::kPrime;
using field::Multiply;
using field::Reduce;
using field::Subtract;

static_assert(std::endian::native == std::endian::little, "shares are written in place");

constexpr size_t kLimbBytes = 7;    // 56 bits: below the prime
constexpr int kSubsetTries = 5000;  // of the last search in RecoverSecret

__extension__ using Uint128 = unsigned __int128;

uint64_t LoadLittleEndian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

// 2^128 x -> x mod p, without a branch: bits above 61 and above 122 fold onto the low ones.
uint64_t ReduceWide(Uint128 x) {
  const uint64_t low = static_cast<uint64_t>(x) & kPrime;
  const uint64_t middle = static_cast<uint64_t>(x >> 61) & kPrime;
  const uint64_t high = static_cast<uint64_t>(x >> 122);
  return Add(Add(low, Reduce(middle)), high);
}

std::span<const uint8_t> LimbOf(std::span<const uint8_t> secret, int limb) {
  const size_t begin = limb * kLimbBytes;
  return secret.subspan(begin, std::min(kLimbBytes, kSharedSecretBytes - begin));
}

// sum of a[i] b[i] over a.size() terms.  Products are below 2^122: 32 of them fit before reducing.
uint64_t DotProduct(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  uint64_t sum = 0;
  for (size_t begin = 0; begin < a.size(); begin += 32) {
    const size_t end = std::min(a.size(), begin + 32);
    Uint128 partial = 0;
    for (size_t i = begin; i < end; ++i) partial += static_cast<Uint128>(a[i]) * b[i];
    sum = Add(sum, ReduceWide(partial));
  }
  return sum;
}

// values[i] -> 1 / values[i], with one inversion.  REQUIRES: none is zero.
void InvertAll(std::span<uint64_t> values) {
  std::vector<uint64_t> before(values.size());  // product of all values before
  uint64_t product = 1;
  for (size_t i = 0; i < values.size(); ++i) {
    before[i] = product;
    product = Multiply(product, values[i]);
  }
  uint64_t inverse = Invert(product);
  for (size_t i = values.size(); i-- > 0;) {
    const uint64_t own = Multiply(inverse, before[i]);
    inverse = Multiply(inverse, values[i]);
    values[i] = own;
  }
}

// 1 / (-x_i prod_{j != i} (x_i - x_j)) for each point.  Times prod_j (-x_j): its Lagrange
// coefficient at zero; times -x_i: its barycentric weight.
std::vector<uint64_t> InverseDenominators(std::span<const PointShare> shares) {
  std::vector<uint64_t> result(shares.size());
  for (size_t i = 0; i < shares.size(); ++i) result[i] = Subtract(0, shares[i].point);
  for (const PointShare& other : shares) {  // the inner steps do not wait for each other
    for (size_t i = 0; i < shares.size(); ++i) {
      const uint64_t difference = Subtract(shares[i].point, other.point);
      result[i] = Multiply(result[i], difference == 0 ? 1 : difference);
    }
  }
  InvertAll(result);
  return result;
}

// prod_j (-x_j)
uint64_t ProductOfNegated(std::span<const PointShare> shares) {
  uint64_t product = 1;
  for (const PointShare& share : shares) product = Multiply(product, Subtract(0, share.point));
  return product;
}

// sum of coefficients[i] shares[i], limb by limb.
ShamirShare Combine(std::span<const uint64_t> coefficients, std::span<const PointShare> shares) {
  std::vector<uint64_t> values(shares.size());
  ShamirShare sum;
  for (int limb = 0; limb < kShareLimbs; ++limb) {
    for (size_t i = 0; i < shares.size(); ++i) values[i] = shares[i].share[limb];
    sum[limb] = DotProduct(coefficients, values);
  }
  return sum;
}

// Whether all shares lie on polynomials of degree below `threshold`: for every polynomial r of
// degree below n - threshold, sum w_i r(x_i) y_i = 0 (w: barycentric weights), and else for few.
// r = sum (rho x)^j; rho from a hash of the shares, so that nobody can prepare shares for it.
bool Consistent(std::span<const PointShare> shares, int threshold,
                std::span<const uint64_t> inverse_denominators) {
  if (shares.size() == static_cast<size_t>(threshold)) return true;
  Hasher hasher;
  hasher.Update("lorikeet shamir check");
  for (const PointShare& share : shares) {
    hasher.UpdateUint64(share.point);
    for (const uint64_t value : share.share) hasher.UpdateUint64(value);
  }
  const Hash256 hash = hasher.Finish();
  const uint64_t rho = Reduce(LoadLittleEndian(std::span(hash).first(8)) >> 3);
  std::vector<uint64_t> coefficients(shares.size(), 0), steps(shares.size());
  for (size_t i = 0; i < shares.size(); ++i) steps[i] = Multiply(rho, shares[i].point);
  for (size_t power = static_cast<size_t>(threshold); power < shares.size(); ++power) {  // Horner
    for (size_t i = 0; i < shares.size(); ++i)
      coefficients[i] = Add(Multiply(coefficients[i], steps[i]), 1);
  }
  for (size_t i = 0; i < shares.size(); ++i) {
    const uint64_t weight = Multiply(inverse_denominators[i], Subtract(0, shares[i].point));
    coefficients[i] = Multiply(coefficients[i], weight);
  }
  return Combine(coefficients, shares) == ShamirShare{};
}

// The secret with these limbs; nothing if a limb is too large to be one.
std::optional<SecretBytes> JoinLimbs(const ShamirShare& limbs) {
  SecretBytes secret(kSharedSecretBytes);
  const std::span<uint8_t> out = secret.OpenMutable(SecretAccess("recover a shared secret"));
  for (int limb = 0; limb < kShareLimbs; ++limb) {
    const size_t size = LimbOf(out, limb).size();
    if (limbs[limb] >> (8 * size) != 0) return std::nullopt;
    for (size_t i = 0; i < size; ++i) {
      out[limb * kLimbBytes + i] = static_cast<uint8_t>(limbs[limb] >> (8 * i));
    }
  }
  return secret;
}

// The value at zero of the polynomials of degree below shares.size() through the shares.
ShamirShare AtZero(std::span<const PointShare> shares,
                   std::span<const uint64_t> inverse_denominators) {
  ShamirShare limbs = Combine(inverse_denominators, shares);
  const uint64_t product = ProductOfNegated(shares);
  for (uint64_t& limb : limbs) limb = Multiply(limb, product);
  return limbs;
}

std::optional<SecretBytes> Interpolate(std::span<const PointShare> shares) {
  return JoinLimbs(AtZero(shares, InverseDenominators(shares)));
}

// Points among `shares` off the polynomials that `right`, of exactly threshold shares, defines.
std::vector<uint64_t> PointsOff(std::span<const PointShare> shares,
                                std::span<const PointShare> right) {
  std::vector<uint64_t> points;
  for (const PointShare& share : right) points.push_back(share.point);
  std::vector<uint64_t> off;
  std::vector<std::vector<uint64_t>> polynomials;
  for (int limb = 0; limb < kShareLimbs; ++limb) {
    std::vector<uint64_t> values;
    for (const PointShare& share : right) values.push_back(share.share[limb]);
    polynomials.push_back(InterpolatePolynomial(points, values));
  }
  for (const PointShare& share : shares) {
    for (int limb = 0; limb < kShareLimbs; ++limb) {
      if (EvaluatePolynomial(polynomials[limb], share.point) != share.share[limb]) {
        off.push_back(share.point);
        break;
      }
    }
  }
  return off;
}

// By decoding each limb: up to (shares - threshold) / 2 wrong ones.
std::optional<RecoveredSecret> RecoverByDecoding(
    std::span<const PointShare> shares, int threshold,
    const std::function<bool(const SecretBytes&)>& is_right) {
  std::vector<uint64_t> points;
  for (const PointShare& share : shares) points.push_back(share.point);
  ShamirShare limbs;
  std::vector<bool> wrong(shares.size(), false);
  for (int limb = 0; limb < kShareLimbs; ++limb) {
    std::vector<uint64_t> values;
    for (const PointShare& share : shares) values.push_back(share.share[limb]);
    const auto polynomial = DecodeReedSolomon(points, values, threshold);
    if (!polynomial) return std::nullopt;
    limbs[limb] = EvaluatePolynomial(*polynomial, 0);
    for (size_t i = 0; i < shares.size(); ++i) {
      if (EvaluatePolynomial(*polynomial, points[i]) != values[i]) wrong[i] = true;
    }
  }
  std::optional<SecretBytes> secret = JoinLimbs(limbs);
  if (!secret || !is_right(*secret)) return std::nullopt;
  RecoveredSecret recovered{.secret = std::move(*secret), .wrong_points = {}};
  for (size_t i = 0; i < shares.size(); ++i) {
    if (wrong[i]) recovered.wrong_points.push_back(points[i]);
  }
  return recovered;
}

// By trying subsets of exactly `threshold` shares, in lexicographic order, up to kSubsetTries of
// them.
std::optional<RecoveredSecret> RecoverBySearch(
    std::span<const PointShare> shares, int threshold,
    const std::function<bool(const SecretBytes&)>& is_right) {
  const int count = static_cast<int>(shares.size());
  std::vector<bool> chosen(count, false);
  std::fill_n(chosen.begin(), threshold, true);
  for (int attempt = 0; attempt < kSubsetTries; ++attempt) {
    std::vector<PointShare> subset;
    for (int i = 0; i < count; ++i) {
      if (chosen[i]) subset.push_back(shares[i]);
    }
    std::optional<SecretBytes> secret = Interpolate(subset);
    if (secret && is_right(*secret)) {
      return RecoveredSecret{.secret = std::move(*secret),
                             .wrong_points = PointsOff(shares, subset)};
    }
    if (!std::prev_permutation(chosen.begin(), chosen.end())) break;
  }
  return std::nullopt;
}

// Random polynomials with the limbs of the secret as constant terms: kShareLimbs times `threshold`
// coefficients.  From a stream with a fresh seed: one call to the operating system, not thousands.
SecretBytes DrawPolynomials(const SecretBytes& secret, int threshold, RandomSource* random) {
  const SecretAccess access("share a secret");
  const SecretBytes seed = SecretBytes::Random(32, random);
  SeededRandom stream{std::span<const uint8_t, 32>(seed.Open(access))};
  SecretBytes block(sizeof(uint64_t) * kShareLimbs * threshold);
  uint8_t* out = block.OpenMutable(access).data();
  // 128 bits modulo the prime are uniform to 2^-67, without rejecting any.
  SecretBytes wide(16 * static_cast<size_t>(threshold));
  for (int limb = 0; limb < kShareLimbs; ++limb) {
    stream.Fill(wide.OpenMutable(access));
    for (int i = 0; i < threshold; ++i, out += sizeof(uint64_t)) {
      const auto bytes = wide.Open(access).subspan(16 * static_cast<size_t>(i), 16);
      const uint64_t value = i == 0 ? LoadLittleEndian(LimbOf(secret.Open(access), limb))
                                    : ReduceWide(Uint128{LoadLittleEndian(bytes.first(8))} << 64 |
                                                 LoadLittleEndian(bytes.last(8)));
      std::memcpy(out, &value, sizeof value);
    }
  }
  return block;
}

}  // namespace

SecretBytes SplitSecret(const SecretBytes& secret, int threshold, std::span<const uint64_t> points,
                        RandomSource* random) {
  LORIKEET_CHECK(secret.size_bytes() == kSharedSecretBytes);
  LORIKEET_CHECK(threshold >= 1 && points.size() >= static_cast<size_t>(threshold));
  const SecretAccess access("share a secret");
  const SecretBytes block = DrawPolynomials(secret, threshold, random);
  const std::span<const uint64_t> coefficients(
      reinterpret_cast<const uint64_t*>(block.Open(access).data()),
      static_cast<size_t>(kShareLimbs) * threshold);
  SecretBytes shares(kShareBytes * points.size());
  uint8_t* out = shares.OpenMutable(access).data();
  std::vector<uint64_t> powers(threshold, 1);  // of a point; public
  for (const uint64_t point : points) {
    for (int i = 1; i < threshold; ++i) powers[i] = Multiply(powers[i - 1], point);
    for (int limb = 0; limb < kShareLimbs; ++limb, out += sizeof(uint64_t)) {
      const uint64_t value =
          DotProduct(powers, coefficients.subspan(static_cast<size_t>(limb) * threshold));
      std::memcpy(out, &value, sizeof value);
    }
  }
  return shares;
}

absl::StatusOr<ShamirShare> DecodeShare(std::span<const uint8_t> bytes) {
  if (bytes.size() != kShareBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("share: expected %d bytes, got %d", kShareBytes, bytes.size()));
  }
  ShamirShare share = {};
  for (size_t i = kShareBytes; i-- > 0;) share[i / 8] = share[i / 8] << 8 | bytes[i];
  for (uint64_t value : share) {
    if (value >= kPrime) return absl::InvalidArgumentError("share: expected values below 2^61 - 1");
  }
  return share;
}

std::optional<SecretBytes> RecoverFromAll(std::span<const PointShare> shares, int threshold,
                                          const std::function<bool(const SecretBytes&)>& is_right) {
  const std::vector<uint64_t> inverse_denominators = InverseDenominators(shares);
  if (!Consistent(shares, threshold, inverse_denominators)) return std::nullopt;
  std::optional<SecretBytes> secret = JoinLimbs(AtZero(shares, inverse_denominators));
  if (!secret || !is_right(*secret)) return std::nullopt;
  return secret;
}

absl::StatusOr<RecoveredSecret> RecoverSecret(
    std::span<const PointShare> shares, int threshold,
    const std::function<bool(const SecretBytes&)>& is_right) {
  if (threshold < 1 || shares.size() < static_cast<size_t>(threshold)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "secret recovery: expected at least %d shares, got %d", threshold, shares.size()));
  }
  std::vector<uint64_t> points;
  for (const PointShare& share : shares) points.push_back(share.point);
  std::sort(points.begin(), points.end());
  if (std::adjacent_find(points.begin(), points.end()) != points.end()) {
    return absl::InvalidArgumentError("secret recovery: expected distinct points, got one twice");
  }
  if (std::optional<SecretBytes> secret = RecoverFromAll(shares, threshold, is_right)) {
    return RecoveredSecret{.secret = std::move(*secret), .wrong_points = {}};
  }
  const std::span<const PointShare> first = shares.first(threshold);
  if (std::optional<SecretBytes> secret = Interpolate(first); secret && is_right(*secret)) {
    return RecoveredSecret{.secret = std::move(*secret), .wrong_points = PointsOff(shares, first)};
  }
  if (auto recovered = RecoverByDecoding(shares, threshold, is_right)) return std::move(*recovered);
  if (auto recovered = RecoverBySearch(shares, threshold, is_right)) return std::move(*recovered);
  return absl::DataLossError(
      absl::StrFormat("secret recovery: expected %d right shares, too many of %d are wrong",
                      threshold, shares.size()));
}

}  // namespace lorikeet
