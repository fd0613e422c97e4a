#include "common/dp/modulus.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/accountant.h"

namespace lorikeet {
namespace {

constexpr int kFewestBits = 8, kMostBits = 32;
// Conditioning on an event of probability 1 - e^-1/2 at least moves the mean of a rounding error by
// at most sqrt(ln(1 / (1 - e^-1/2)) / 2) = 0.683 (the variational formula of relative entropy with
// a moment bound of t^2 / 8).
constexpr double kRoundingShift = 0.69;
constexpr int kSearchSteps = 200;

absl::Status CheckClients(int clients) {
  if (clients >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("clients: expected at least 1, got %d", clients));
}

}  // namespace

absl::StatusOr<OverflowBound> SumOverflow(const EncodingParameters& p, int clients) {
  RETURN_IF_ERROR(ValidateEncoding(p));
  RETURN_IF_ERROR(CheckClients(clients));
  const double n = clients, d = static_cast<double>(p.padded_dimension());
  const double norm = p.clip_norm * p.scale * n;
  const double noise = n * p.sigma_local * p.sigma_local * p.scale * p.scale;
  const double room = std::ldexp(1.0, p.modulus_bits - 1) - kRoundingShift * n;
  if (room <= 0) return OverflowBound{};
  const double variance = norm * norm / d + n / 4;
  const bool is_skellam = p.noise == NoiseKind::kSkellam;
  // log of E[e^(t x)] e^(-t room): convex in t.
  const auto exponent = [&](double t) {
    const double sinh_half = std::sinh(t / 2);  // cosh t - 1 = 2 sinh^2(t / 2)
    const double of_noise = is_skellam ? noise * 2 * sinh_half * sinh_half : noise * t * t / 2;
    return variance * t * t / 2 + of_noise - t * room;
  };
  double low = 0, high = room / (variance + noise);  // the best rate if all were Gaussian
  for (int i = 0; i < kSearchSteps; ++i) {
    const double a = low + (high - low) / 3, b = high - (high - low) / 3;
    (exponent(a) < exponent(b) ? high : low) = exponent(a) < exponent(b) ? b : a;
  }
  OverflowBound bound;
  bound.coordinate = std::min(1.0, 2 * std::exp(exponent(low)));
  bound.any = std::min(1.0, d * bound.coordinate);
  return bound;
}

absl::StatusOr<double> ScaleForBits(const EncodingParameters& parameters, int clients,
                                    int modulus_bits) {
  EncodingParameters p = parameters;
  p.scale = 1 / p.clip_norm;
  p.modulus_bits = modulus_bits;
  RETURN_IF_ERROR(ValidateEncoding(p));
  RETURN_IF_ERROR(CheckClients(clients));
  const double n = clients, d = static_cast<double>(p.padded_dimension()), c = p.clip_norm;
  const double half = std::ldexp(1.0, modulus_bits) / (2 * kModulusDeviations);
  const double square =
      (half * half - n / 4) / (c * c * n * n / d + n * p.sigma_local * p.sigma_local);
  if (square <= 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("modulus: expected enough bits for the rounding of %d clients, got %d",
                        clients, modulus_bits));
  }
  return std::sqrt(square) * (1 - 1e-12);  // rounding must not ask for one more bit
}

absl::StatusOr<EncodingParameters> FewestBits(const EncodingParameters& parameters,
                                              const BitsRequest& request) {
  EncodingParameters p = parameters;
  double least = INFINITY;
  for (p.modulus_bits = kFewestBits; p.modulus_bits <= kMostBits; ++p.modulus_bits) {
    const absl::StatusOr<double> scale = ScaleForBits(parameters, request.clients, p.modulus_bits);
    if (!scale.ok()) {
      if (p.modulus_bits == kMostBits) return scale.status();
      continue;
    }
    p.scale = *scale;
    if (p.clip_norm * p.scale > kLargestScaledNorm) break;
    ASSIGN_OR_RETURN(const double epsilon,
                     RoundEpsilon(p, request.honest_survivors, request.rounds, request.delta));
    if (epsilon <= request.epsilon) return p;
    least = std::min(least, epsilon);
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "modulus: expected epsilon %g to fit in %d bits, but this noise gives %.6g at "
      "best: it needs more noise",
      request.epsilon, kMostBits, least));
}

}  // namespace lorikeet
