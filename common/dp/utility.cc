#include "common/dp/utility.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/accountant.h"

namespace lorikeet {
namespace {

constexpr double kLargestSensibleEpsilon = 20;  // more protects nobody: not worth advising

}  // namespace

double NoiseRatio(double deviation, int64_t dimension, double devices) {
  return deviation * std::sqrt(static_cast<double>(dimension)) / devices;
}

absl::StatusOr<Utility> UtilityOf(const UtilityRequest& r) {
  if (r.clients < 1 || r.personas < 1 || r.dimension < 1 || r.rounds < 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "utility: expected at least 1 device, persona, number and round, got %d, %d, %d and %d",
        r.clients, r.personas, r.dimension, r.rounds));
  }
  const auto epsilon_of = [&r](double noise_multiplier) {
    return GaussianEpsilon(noise_multiplier, r.rounds, r.delta);
  };
  Utility utility;
  ASSIGN_OR_RETURN(utility.noise_multiplier, CalibrateNoise(r.epsilon, epsilon_of));
  const double devices = static_cast<double>(r.clients) / r.personas;
  utility.noise_ratio = NoiseRatio(utility.noise_multiplier, r.dimension, devices);
  utility.release = utility.noise_ratio <= kLargestNoiseRatio;
  const double factor = utility.noise_ratio / kLargestNoiseRatio;
  const auto clients = static_cast<double>(r.clients), dimension = static_cast<double>(r.dimension);
  utility.clients_needed = static_cast<int64_t>(std::ceil(clients * factor));
  utility.dimension_needed = static_cast<int64_t>(std::floor(dimension / (factor * factor)));
  ASSIGN_OR_RETURN(utility.epsilon_needed, epsilon_of(utility.noise_multiplier / factor));
  return utility;
}

std::string UtilityAdvice(const Utility& utility) {
  std::string advice = absl::StrFormat("%d or more devices", utility.clients_needed);
  if (utility.dimension_needed >= 1) {
    absl::StrAppendFormat(&advice, ", at most %d numbers in a core", utility.dimension_needed);
  }
  if (utility.epsilon_needed <= kLargestSensibleEpsilon) {
    absl::StrAppendFormat(&advice, ", or epsilon of %.3g or more", utility.epsilon_needed);
  }
  return advice;
}

}  // namespace lorikeet
