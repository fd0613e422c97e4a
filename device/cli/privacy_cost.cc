#include "device/cli/privacy_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/loss_distribution.h"

namespace lorikeet {
namespace {

constexpr double kSmallestLogDelta = -690;  // 1e-300
constexpr int kDeltaBisections = 80;

absl::StatusOr<GaussianEvent> ParseEvent(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  GaussianEvent event;
  const bool good = parts.size() <= 3 && absl::SimpleAtod(parts[0], &event.noise_multiplier) &&
                    (parts.size() < 2 || absl::SimpleAtod(parts[1], &event.sampling_rate)) &&
                    (parts.size() < 3 || absl::SimpleAtoi(parts[2], &event.steps));
  if (good && event.noise_multiplier > 0 && event.sampling_rate > 0 && event.sampling_rate <= 1 &&
      event.steps >= 1) {
    return event;
  }
  return UsageError(absl::StrFormat(
      "--event: expected SIGMA[:SAMPLING_RATE[:STEPS]], such as 1.5:0.01:100, got %s", text));
}

// The Gaussian releases: that of the options, and the other events.
absl::StatusOr<std::vector<GaussianEvent>> EventsOf(const PrivacyArguments& a) {
  std::vector<GaussianEvent> events = {{.noise_multiplier = a.sigma / a.sensitivity,
                                        .sampling_rate = a.sampling_rate,
                                        .steps = a.steps}};
  for (const std::string& text : a.events) {
    ASSIGN_OR_RETURN(events.emplace_back(), ParseEvent(text));
  }
  return events;
}

double RhoOf(const std::vector<GaussianEvent>& events) {
  double rho = 0;
  for (const GaussianEvent& e : events) rho += GaussianZcdp(e.noise_multiplier, e.steps);
  return rho;
}

// The noise multiplier of the one Gaussian that costs as much.
absl::StatusOr<double> EquivalentNoise(const PrivacyArguments& a) {
  if (a.mechanism == "zcdp") return 1 / std::sqrt(2 * a.rho * static_cast<double>(a.steps));
  ASSIGN_OR_RETURN(const auto events, EventsOf(a));
  return 1 / std::sqrt(2 * RhoOf(events));
}

absl::StatusOr<bool> IsSampled(const PrivacyArguments& a) {
  if (a.mechanism != "gaussian") return a.sampling_rate != 1;
  ASSIGN_OR_RETURN(const auto events, EventsOf(a));
  return std::any_of(events.begin(), events.end(),
                     [](const GaussianEvent& e) { return e.sampling_rate != 1; });
}

absl::Status CheckDistributed(PrivacyArguments* a, const PrivacyOptionNeeds& needs) {
  if (a->dimension < 1 || a->clients < 1 || (needs.scale && !(a->scale > 0))) {
    return UsageError(absl::StrFormat("%s: expected --dimension, --clients%s", a->mechanism,
                                      needs.scale ? " and --scale" : ""));
  }
  if (a->dimension > int64_t{1} << 28 || a->clients > 100000000) {
    return UsageError(
        absl::StrFormat("%s: expected a dimension up to 2^28 and up to 10^8 clients, got %d and %d",
                        a->mechanism, a->dimension, a->clients));
  }
  a->dimension = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(a->dimension)));
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPrivacyArguments(PrivacyArguments* a, const PrivacyOptionNeeds& needs) {
  if (!(a->delta > 0 && a->delta < 1)) {
    return UsageError(
        absl::StrFormat("--delta: expected a number between 0 and 1, got %g", a->delta));
  }
  if (!(a->sensitivity > 0 && std::isfinite(a->sensitivity))) {
    return UsageError(
        absl::StrFormat("--sensitivity: expected a positive number, got %g", a->sensitivity));
  }
  if (!(a->clip > 0 && std::isfinite(a->clip))) {
    return UsageError(absl::StrFormat("--clip: expected a positive number, got %g", a->clip));
  }
  if (a->mechanism != "gaussian" && !a->events.empty()) {
    return UsageError(absl::StrFormat("--event: expected gaussian, got %s", a->mechanism));
  }
  return a->is_distributed() ? CheckDistributed(a, needs) : absl::OkStatus();
}

absl::StatusOr<std::string> AccountantFor(const PrivacyArguments& a) {
  ASSIGN_OR_RETURN(const bool is_sampled, IsSampled(a));
  const std::string& wanted = a.accountant;
  const auto refuse = [&](const char* expected) {
    return UsageError(
        absl::StrFormat("--accountant: expected %s for %s, got %s", expected, a.mechanism, wanted));
  };
  if (a.mechanism == "gaussian") {
    if (wanted.empty()) return std::string(is_sampled ? "pld" : "exact");
    if (is_sampled && wanted != "pld" && wanted != "rdp") {
      return UsageError(absl::StrFormat(
          "--accountant: expected pld or rdp for a sampled Gaussian, got %s", wanted));
    }
    return wanted;
  }
  if (is_sampled && !a.is_distributed()) {
    return UsageError(absl::StrFormat("--sampling-rate: expected 1 for %s", a.mechanism));
  }
  if (a.mechanism == "zcdp") {
    if (wanted.empty()) return std::string("zcdp");
    if (wanted == "pld") return refuse("zcdp, rdp or exact (a Gaussian of that rho)");
    return wanted;
  }
  if (!wanted.empty() && wanted != "rdp") return refuse("rdp");
  return std::string("rdp");
}

absl::StatusOr<RdpCurve> CurveOf(const PrivacyArguments& a) {
  if (a.mechanism == "laplace") return LaplaceRdp(a.sigma / a.sensitivity, a.steps);
  if (a.mechanism == "zcdp") {
    ASSIGN_OR_RETURN(const double noise, EquivalentNoise(a));
    return GaussianRdp(noise, 1, 1);
  }
  if (a.mechanism == "gaussian") {
    ASSIGN_OR_RETURN(const auto events, EventsOf(a));
    RdpCurve sum;
    for (const GaussianEvent& e : events) {
      ASSIGN_OR_RETURN(const RdpCurve curve,
                       GaussianRdp(e.noise_multiplier, e.sampling_rate, e.steps));
      if (sum.orders.empty()) {
        sum = curve;
      } else {
        RETURN_IF_ERROR(sum.Compose(curve));
      }
    }
    return sum;
  }
  return DistributedRdp(
      {.scale = a.scale,
       .sigma_local = a.sigma,
       .clients = a.clients,
       .clip_norm = a.clip,
       .dimension = a.dimension,
       .sampling_rate = a.sampling_rate,
       .steps = a.steps,
       .noise = a.mechanism == "ddg" ? NoiseKind::kDiscreteGaussian : NoiseKind::kSkellam});
}

absl::StatusOr<PrivacyCost> CostOf(const PrivacyArguments& a, const std::string& accountant) {
  PrivacyCost cost;
  if (accountant == "exact") {
    ASSIGN_OR_RETURN(const double noise, EquivalentNoise(a));
    ASSIGN_OR_RETURN(cost.epsilon, GaussianEpsilon(noise, 1, a.delta));
    return cost;
  }
  // Of a bare rho the Renyi bound is known at every order, not only on a grid.
  if (accountant == "zcdp" || a.mechanism == "zcdp") {
    ASSIGN_OR_RETURN(const double noise, EquivalentNoise(a));
    ASSIGN_OR_RETURN(cost.epsilon, ZcdpEpsilon(GaussianZcdp(noise, 1), a.delta));
    return cost;
  }
  if (accountant == "pld") {
    ASSIGN_OR_RETURN(const auto events, EventsOf(a));
    ASSIGN_OR_RETURN(cost.epsilon, LossEpsilon(events, a.delta));
    return cost;
  }
  ASSIGN_OR_RETURN(const RdpCurve curve, CurveOf(a));
  ASSIGN_OR_RETURN(const EpsilonAtOrder best, EpsilonFromRdp(curve, a.delta));
  cost.epsilon = best.epsilon;
  cost.order = best.order;
  if (a.mechanism == "laplace") {  // pure differential privacy composes linearly, whatever delta
    const double pure = static_cast<double>(a.steps) * a.sensitivity / a.sigma;
    if (pure <= cost.epsilon) cost = {.epsilon = pure, .order = std::nullopt};
  }
  return cost;
}

absl::StatusOr<double> DeltaOf(const PrivacyArguments& a, const std::string& accountant) {
  if (accountant == "exact") {
    ASSIGN_OR_RETURN(const double noise, EquivalentNoise(a));
    return GaussianDelta(noise, 1, a.epsilon);
  }
  if (accountant == "pld") {
    ASSIGN_OR_RETURN(const auto events, EventsOf(a));
    return LossDelta(events, a.epsilon);
  }
  PrivacyArguments tried = a;
  double low = kSmallestLogDelta, high = -std::numeric_limits<double>::epsilon();
  for (int i = 0; i < kDeltaBisections; ++i) {
    const double middle = (low + high) / 2;
    tried.delta = std::exp(middle);
    ASSIGN_OR_RETURN(const PrivacyCost cost, CostOf(tried, accountant));
    (cost.epsilon <= a.epsilon ? high : low) = middle;
  }
  return std::exp(high);
}

absl::StatusOr<EncodingParameters> EncodingOf(const PrivacyArguments& a) {
  EncodingParameters encoding{.dimension = a.dimension,
                              .clip_norm = a.clip,
                              .scale = a.scale,
                              .sigma_local = a.sigma,
                              .modulus_bits = 0,
                              .rotation_seed = {}};
  encoding.noise = a.mechanism == "ddg" ? NoiseKind::kDiscreteGaussian : NoiseKind::kSkellam;
  ASSIGN_OR_RETURN(encoding.modulus_bits,
                   RequiredModulusBits(encoding, static_cast<int>(a.clients)));
  return encoding;
}

void AddPrivacyOptions(CLI::App* command, PrivacyArguments* a) {
  command
      ->add_option("--mechanism", a->mechanism,
                   "gaussian, skellam, ddg (discrete Gaussian), laplace or zcdp")
      ->required()
      ->check(CLI::IsMember({"gaussian", "skellam", "ddg", "laplace", "zcdp"}));
  command->add_option("--delta", a->delta, "delta")->capture_default_str();
  command->add_option("--steps", a->steps, "releases")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--sampling-rate", a->sampling_rate, "Poisson sampling rate")
      ->capture_default_str();
  command
      ->add_option("--sensitivity", a->sensitivity, "of a contribution (gaussian: L2, laplace: L1)")
      ->capture_default_str();
  command->add_option("--event", a->events,
                      "another Gaussian release, SIGMA[:SAMPLING_RATE[:STEPS]] (gaussian; as often "
                      "as wanted)");
  command->add_option("--clip", a->clip, "L2 clip norm (skellam, ddg)")->capture_default_str();
  command->add_option("--dimension", a->dimension,
                      "numbers in an update, padded to a power of two (skellam, ddg)");
  command->add_option("--scale", a->scale, "integer units per unit (skellam, ddg)");
  command->add_option("--clients", a->clients,
                      "honest clients whose noise is in the sum (skellam, ddg)");
  command
      ->add_option("--accountant", a->accountant,
                   "exact, rdp, pld or zcdp; default: the tightest for the mechanism")
      ->check(CLI::IsMember({"exact", "rdp", "pld", "zcdp"}));
}

}  // namespace lorikeet
