#include "common/secagg/shamir.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/secagg/field.h"
#include "common/secagg/reed_solomon.h"

namespace lorikeet {
namespace {

using field::Add;
using field::Invert;
using field::kPrime;
using field::Multiply;
using field::Subtract;

constexpr size_t kLimbBytes = 7;    // 56 bits: below the prime
constexpr int kSubsetTries = 5000;  // of the last search in RecoverSecret

// Uniform below the prime.  Rejects one draw in 2^61, which reveals nothing about the others.
uint64_t UniformElement(RandomSource* random) {
  for (;;) {
    const uint64_t value = random->Uint64() >> 3;
    if (value != kPrime) return value;
  }
}

std::span<const uint8_t> LimbOf(std::span<const uint8_t> secret, int limb) {
  const size_t begin = limb * kLimbBytes;
  return secret.subspan(begin, std::min(kLimbBytes, kSharedSecretBytes - begin));
}

// Lagrange coefficients at zero.
std::vector<uint64_t> ZeroCoefficients(std::span<const PointShare> shares) {
  std::vector<uint64_t> numerators(shares.size(), 1), denominators(shares.size(), 1);
  for (size_t i = 0; i < shares.size(); ++i) {
    for (size_t j = 0; j < shares.size(); ++j) {
      if (i == j) continue;
      numerators[i] = Multiply(numerators[i], shares[j].point);
      denominators[i] = Multiply(denominators[i], Subtract(shares[j].point, shares[i].point));
    }
    numerators[i] = Multiply(numerators[i], Invert(denominators[i]));
  }
  return numerators;
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

std::optional<SecretBytes> Interpolate(std::span<const PointShare> shares) {
  const std::vector<uint64_t> coefficients = ZeroCoefficients(shares);
  ShamirShare limbs = {};
  for (size_t i = 0; i < shares.size(); ++i) {
    for (int limb = 0; limb < kShareLimbs; ++limb) {
      limbs[limb] = Add(limbs[limb], Multiply(coefficients[i], shares[i].share[limb]));
    }
  }
  return JoinLimbs(limbs);
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

}  // namespace

std::vector<ShamirShare> SplitSecret(const SecretBytes& secret, int threshold,
                                     std::span<const uint64_t> points, RandomSource* random) {
  LORIKEET_CHECK(secret.size_bytes() == kSharedSecretBytes);
  LORIKEET_CHECK(threshold >= 1 && points.size() >= static_cast<size_t>(threshold));
  const SecretAccess access("share a secret");
  // One wiped block of coefficients, the constant terms first.
  SecretBytes block(sizeof(uint64_t) * kShareLimbs * threshold);
  const std::span<uint64_t> coefficients(
      reinterpret_cast<uint64_t*>(block.OpenMutable(access).data()),
      static_cast<size_t>(kShareLimbs) * threshold);
  for (int limb = 0; limb < kShareLimbs; ++limb) {
    const std::span<const uint8_t> bytes = LimbOf(secret.Open(access), limb);
    uint64_t value = 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
    coefficients[limb] = value;
  }
  // The coefficients come from a stream with a fresh seed: one call to the operating system, not
  // thousands.
  const SecretBytes seed = SecretBytes::Random(32, random);
  SeededRandom stream{std::span<const uint8_t, 32>(seed.Open(access))};
  for (size_t i = kShareLimbs; i < coefficients.size(); ++i)
    coefficients[i] = UniformElement(&stream);

  std::vector<ShamirShare> shares(points.size());
  for (size_t holder = 0; holder < points.size(); ++holder) {
    ShamirShare value = {};
    for (int power = threshold - 1; power >= 0; --power) {  // Horner
      for (int limb = 0; limb < kShareLimbs; ++limb) {
        value[limb] =
            Add(Multiply(value[limb], points[holder]), coefficients[power * kShareLimbs + limb]);
      }
    }
    shares[holder] = value;
  }
  return shares;
}

void EncodeShare(const ShamirShare& share, std::span<uint8_t> out) {
  LORIKEET_CHECK(out.size() == kShareBytes);
  for (size_t i = 0; i < kShareBytes; ++i)
    out[i] = static_cast<uint8_t>(share[i / 8] >> (8 * (i % 8)));
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
