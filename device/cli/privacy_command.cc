// lorikeet privacy epsilon|calibrate: accounting without a coordinator.
#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/loss_distribution.h"
#include "common/dp/rdp.h"
#include "device/cli/command.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// An epsilon that is not finite cannot be printed as JSON.
constexpr double kLargestEpsilon = 1e6;

struct PrivacyArguments {
  std::string mechanism;
  std::string accountant;  // empty: the best there is for the mechanism
  double sigma = 0;        // gaussian, laplace: noise; skellam, ddg: of one client's share
  double delta = 1e-6;
  double epsilon = 0;
  int64_t steps = 1;
  double sampling_rate = 1;
  double sensitivity = 1;
  double clip = 1;
  int64_t dimension = 0;
  double scale = 0;
  int64_t clients = 0;
};

struct Cost {
  double epsilon = 0;
  std::optional<double> order;  // of the Renyi bound, where one was used
};

bool IsDistributed(const PrivacyArguments& a) {
  return a.mechanism == "skellam" || a.mechanism == "ddg";
}

// The accountant used: "exact", "rdp" or "pld".
absl::StatusOr<std::string> AccountantFor(const PrivacyArguments& a) {
  if (a.mechanism == "gaussian") {
    if (a.accountant.empty()) return std::string(a.sampling_rate == 1 ? "exact" : "pld");
    if (a.accountant == "exact" && a.sampling_rate != 1) {
      return UsageError("--accountant: expected pld or rdp for a sampled Gaussian, got exact");
    }
    return a.accountant;
  }
  if (a.mechanism == "laplace" && a.sampling_rate != 1) {
    return UsageError("--sampling-rate: expected 1 for laplace");
  }
  if (a.accountant.empty()) return std::string("rdp");
  if (a.accountant != "rdp") {
    return UsageError(
        absl::StrFormat("--accountant: expected rdp for %s, got %s", a.mechanism, a.accountant));
  }
  return a.accountant;
}

absl::StatusOr<RdpCurve> CurveOf(const PrivacyArguments& a, double sigma) {
  if (a.mechanism == "gaussian")
    return GaussianRdp(sigma / a.sensitivity, a.sampling_rate, a.steps);
  if (a.mechanism == "laplace") return LaplaceRdp(sigma / a.sensitivity, a.steps);
  const DistributedMechanism mechanism{.scale = a.scale,
                                       .sigma_local = sigma,
                                       .clients = a.clients,
                                       .clip_norm = a.clip,
                                       .dimension = a.dimension,
                                       .sampling_rate = a.sampling_rate,
                                       .steps = a.steps};
  return a.mechanism == "skellam" ? SkellamRdp(mechanism) : DiscreteGaussianRdp(mechanism);
}

absl::StatusOr<Cost> CostOf(const PrivacyArguments& a, const std::string& accountant,
                            double sigma) {
  Cost cost;
  if (accountant == "exact") {
    ASSIGN_OR_RETURN(cost.epsilon, GaussianEpsilon(sigma / a.sensitivity, a.steps, a.delta));
    return cost;
  }
  if (accountant == "pld") {
    const GaussianEvent event{.noise_multiplier = sigma / a.sensitivity,
                              .sampling_rate = a.sampling_rate,
                              .steps = a.steps};
    ASSIGN_OR_RETURN(cost.epsilon, LossEpsilon({&event, 1}, a.delta));
    return cost;
  }
  ASSIGN_OR_RETURN(const RdpCurve curve, CurveOf(a, sigma));
  ASSIGN_OR_RETURN(const EpsilonAtOrder best, EpsilonFromRdp(curve, a.delta));
  cost.epsilon = best.epsilon;
  cost.order = best.order;
  if (a.mechanism == "laplace") {  // pure differential privacy composes linearly, whatever delta
    const double pure = static_cast<double>(a.steps) * a.sensitivity / sigma;
    if (pure <= cost.epsilon) cost = {.epsilon = pure, .order = std::nullopt};
  }
  return cost;
}

absl::Status Check(PrivacyArguments* a) {
  if (!(a->delta > 0 && a->delta < 1)) {
    return UsageError(
        absl::StrFormat("--delta: expected a number between 0 and 1, got %g", a->delta));
  }
  if (!(a->sensitivity > 0)) {
    return UsageError(
        absl::StrFormat("--sensitivity: expected a positive number, got %g", a->sensitivity));
  }
  if (IsDistributed(*a)) {
    if (a->dimension < 1 || a->clients < 1 || !(a->scale > 0)) {
      return UsageError(
          absl::StrFormat("%s: expected --dimension, --clients and --scale", a->mechanism));
    }
    a->dimension = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(a->dimension)));
  }
  return absl::OkStatus();
}

void Report(const PrivacyArguments& a, const std::string& accountant, double sigma,
            const Cost& cost, Output& out) {
  out.Line(absl::StrFormat(
      "(%.6g, %g)-differentially private: %s, sigma %.9g, %d step(s), accountant %s", cost.epsilon,
      a.delta, a.mechanism, sigma, a.steps, accountant));
  out.SetJson({{"epsilon", cost.epsilon},
               {"delta", a.delta},
               {"sigma", sigma},
               {"order", cost.order ? json(*cost.order) : json()},
               {"accountant", accountant},
               {"mechanism", a.mechanism},
               {"steps", a.steps}});
}

absl::Status RunEpsilon(PrivacyArguments a, Output& out) {
  RETURN_IF_ERROR(Check(&a));
  if (!(a.sigma > 0)) return UsageError("--sigma: expected a positive number");
  ASSIGN_OR_RETURN(const std::string accountant, AccountantFor(a));
  ASSIGN_OR_RETURN(const Cost cost, CostOf(a, accountant, a.sigma));
  if (!(cost.epsilon <= kLargestEpsilon)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("epsilon: expected at most %g, sigma %g is too small for any bound",
                        kLargestEpsilon, a.sigma));
  }
  Report(a, accountant, a.sigma, cost, out);
  return absl::OkStatus();
}

absl::Status RunCalibrate(PrivacyArguments a, Output& out) {
  RETURN_IF_ERROR(Check(&a));
  if (!(a.epsilon > 0)) return UsageError("--epsilon: expected a positive number");
  ASSIGN_OR_RETURN(const std::string accountant, AccountantFor(a));
  const auto epsilon_with = [&a](const std::string& by) {
    return [&a, by](double sigma) -> absl::StatusOr<double> {
      ASSIGN_OR_RETURN(const Cost cost, CostOf(a, by, sigma));
      return cost.epsilon;
    };
  };
  NoiseRange range;
  if (accountant == "pld") {
    // Slow, and only for reasonable noise: start from what Renyi accounting asks for, which is
    // never less.
    ASSIGN_OR_RETURN(range.most, CalibrateNoise(a.epsilon, epsilon_with("rdp")));
    range.least = std::max(range.most / 4, 0.06 * a.sensitivity);
    range.most = std::max(range.most, range.least);
    range.relative_error = 1e-7;
  }
  ASSIGN_OR_RETURN(const double sigma, CalibrateNoise(a.epsilon, epsilon_with(accountant), range));
  ASSIGN_OR_RETURN(const Cost cost, CostOf(a, accountant, sigma));
  Report(a, accountant, sigma, cost, out);
  return absl::OkStatus();
}

void AddOptions(CLI::App* command, PrivacyArguments* a) {
  command
      ->add_option("--mechanism", a->mechanism,
                   "gaussian, skellam, ddg (discrete Gaussian) or laplace")
      ->required()
      ->check(CLI::IsMember({"gaussian", "skellam", "ddg", "laplace"}));
  command->add_option("--delta", a->delta, "delta")->capture_default_str();
  command->add_option("--steps", a->steps, "releases")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--sampling-rate", a->sampling_rate, "Poisson sampling rate")
      ->capture_default_str();
  command
      ->add_option("--sensitivity", a->sensitivity, "of a contribution (gaussian: L2, laplace: L1)")
      ->capture_default_str();
  command->add_option("--clip", a->clip, "L2 clip norm (skellam, ddg)")->capture_default_str();
  command->add_option("--dimension", a->dimension,
                      "numbers in an update, padded to a power of two (skellam, ddg)");
  command->add_option("--scale", a->scale, "integer units per unit (skellam, ddg)");
  command->add_option("--clients", a->clients,
                      "honest clients whose noise is in the sum (skellam, ddg)");
  command
      ->add_option("--accountant", a->accountant,
                   "exact, rdp or pld; default: the tightest for the mechanism")
      ->check(CLI::IsMember({"exact", "rdp", "pld"}));
}

}  // namespace

void AddPrivacyCommands(Program& program) {
  CLI::App* group = program.AddGroup("privacy", "What noise costs and buys (differential privacy)");
  auto arguments = std::make_shared<PrivacyArguments>();
  CLI::App* epsilon = program.Add(group, "epsilon", "Epsilon of a mechanism",
                                  [arguments](Output& out) { return RunEpsilon(*arguments, out); });
  AddOptions(epsilon, arguments.get());
  epsilon
      ->add_option("--sigma", arguments->sigma,
                   "noise (skellam, ddg: standard deviation of one client's share)")
      ->required();
  CLI::App* calibrate =
      program.Add(group, "calibrate", "Smallest noise for an epsilon",
                  [arguments](Output& out) { return RunCalibrate(*arguments, out); });
  AddOptions(calibrate, arguments.get());
  calibrate->add_option("--epsilon", arguments->epsilon, "to reach")->required();
}

}  // namespace lorikeet
