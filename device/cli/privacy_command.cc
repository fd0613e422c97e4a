// lorikeet privacy epsilon|delta|calibrate|rdp: accounting without a coordinator.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/modulus.h"
#include "device/cli/command.h"
#include "device/cli/privacy_cost.h"
#include "device/cli/privacy_ledger.h"
#include "device/cli/privacy_tables.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// An epsilon that is not finite cannot be printed as JSON.
constexpr double kLargestEpsilon = 1e9;

// Modulus, and how likely the sum of all clients wraps around it.
absl::Status ReportEncoding(const EncodingParameters& encoding, int64_t clients, json* document,
                            Output& out) {
  ASSIGN_OR_RETURN(const OverflowBound overflow, SumOverflow(encoding, static_cast<int>(clients)));
  out.Line(absl::StrFormat(
      "modulus 2^%d at scale %.6g: of %d clients' sum a given coordinate wraps around with "
      "probability under %.3g, any of %d under %.3g",
      encoding.modulus_bits, encoding.scale, clients, overflow.coordinate,
      encoding.padded_dimension(), overflow.any));
  document->update({{"modulus_bits", encoding.modulus_bits},
                    {"scale", encoding.scale},
                    {"overflow_probability", overflow.any},
                    {"overflow_per_coordinate", overflow.coordinate}});
  return absl::OkStatus();
}

absl::Status Report(const PrivacyArguments& a, const std::string& accountant,
                    const PrivacyCost& cost, json extra, Output& out) {
  if (!(cost.epsilon <= kLargestEpsilon)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("epsilon: expected at most %g, sigma %g is too small for any bound",
                        kLargestEpsilon, a.sigma));
  }
  const std::string noise = a.mechanism == "zcdp" ? absl::StrFormat("rho %.9g", a.rho)
                                                  : absl::StrFormat("sigma %.9g", a.sigma);
  out.Line(absl::StrFormat("(%.6g, %g)-differentially private: %s, %s, %d step(s), accountant %s",
                           cost.epsilon, a.delta, a.mechanism, noise, a.steps, accountant));
  json document = {{"epsilon", cost.epsilon},  {"delta", a.delta},
                   {"sigma", a.sigma},         {"order", cost.order ? json(*cost.order) : json()},
                   {"accountant", accountant}, {"mechanism", a.mechanism},
                   {"steps", a.steps}};
  if (a.mechanism == "zcdp") document["rho"] = a.rho;
  document.update(extra);
  if (a.is_distributed()) {
    absl::StatusOr<EncodingParameters> encoding = EncodingOf(a);
    if (encoding.ok()) {
      RETURN_IF_ERROR(ReportEncoding(*encoding, a.clients, &document, out));
    } else {
      out.Line(absl::StrFormat("no modulus: %s", encoding.status().message()));
    }
  }
  out.SetJson(std::move(document));
  return absl::OkStatus();
}

absl::Status CheckNoise(const PrivacyArguments& a) {
  if (a.mechanism == "zcdp") {
    return a.rho > 0 && std::isfinite(a.rho) ? absl::OkStatus()
                                             : UsageError("--rho: expected a positive number");
  }
  return a.sigma > 0 && std::isfinite(a.sigma) ? absl::OkStatus()
                                               : UsageError("--sigma: expected a positive number");
}

absl::Status RunEpsilon(PrivacyArguments a, Output& out) {
  RETURN_IF_ERROR(CheckPrivacyArguments(&a));
  RETURN_IF_ERROR(CheckNoise(a));
  ASSIGN_OR_RETURN(const std::string accountant, AccountantFor(a));
  ASSIGN_OR_RETURN(const PrivacyCost cost, CostOf(a, accountant));
  return Report(a, accountant, cost, json::object(), out);
}

absl::Status RunDelta(PrivacyArguments a, Output& out) {
  RETURN_IF_ERROR(CheckPrivacyArguments(&a));
  RETURN_IF_ERROR(CheckNoise(a));
  if (!(a.epsilon >= 0)) return UsageError("--epsilon: expected a number of 0 or more");
  ASSIGN_OR_RETURN(const std::string accountant, AccountantFor(a));
  ASSIGN_OR_RETURN(a.delta, DeltaOf(a, accountant));
  return Report(a, accountant, {.epsilon = a.epsilon, .order = std::nullopt}, json::object(), out);
}

// Epsilon as a function of one option, by this accountant.
std::function<absl::StatusOr<double>(double)> EpsilonBy(PrivacyArguments a,
                                                        double PrivacyArguments::* option,
                                                        const std::string& accountant) {
  return [a, option, accountant](double value) mutable -> absl::StatusOr<double> {
    a.*option = value;
    ASSIGN_OR_RETURN(const PrivacyCost cost, CostOf(a, accountant));
    return cost.epsilon;
  };
}

absl::StatusOr<double> SmallestSigma(const PrivacyArguments& a, const std::string& accountant) {
  NoiseRange range;
  if (accountant == "pld") {
    // Slow, and only for reasonable noise: start from what Renyi accounting asks for, which is
    // never less.
    ASSIGN_OR_RETURN(range.most,
                     CalibrateNoise(a.epsilon, EpsilonBy(a, &PrivacyArguments::sigma, "rdp")));
    range.least = std::max(range.most / 4, 0.06 * a.sensitivity);
    range.most = std::max(range.most, range.least);
    range.relative_error = 1e-7;
  }
  return CalibrateNoise(a.epsilon, EpsilonBy(a, &PrivacyArguments::sigma, accountant), range);
}

absl::Status RunSmallestSigma(PrivacyArguments a, Output& out) {
  if (a.mechanism == "zcdp") {
    return UsageError("--mechanism: expected one with a sigma to solve for, got zcdp");
  }
  RETURN_IF_ERROR(CheckPrivacyArguments(&a));
  ASSIGN_OR_RETURN(const std::string accountant, AccountantFor(a));
  ASSIGN_OR_RETURN(a.sigma, SmallestSigma(a, accountant));
  ASSIGN_OR_RETURN(const PrivacyCost cost, CostOf(a, accountant));
  return Report(a, accountant, cost, {{"solved", "sigma"}}, out);
}

// The clip norm is the sensitivity of the mechanisms that know no clipping.
absl::Status RunLargestClip(PrivacyArguments a, Output& out) {
  RETURN_IF_ERROR(CheckPrivacyArguments(&a));
  if (a.mechanism == "zcdp") {
    return UsageError("--mechanism: expected one with a clip norm to solve for, got zcdp");
  }
  RETURN_IF_ERROR(CheckNoise(a));
  ASSIGN_OR_RETURN(const std::string accountant, AccountantFor(a));
  double PrivacyArguments::* option =
      a.is_distributed() ? &PrivacyArguments::clip : &PrivacyArguments::sensitivity;
  NoiseRange range;
  if (accountant == "pld") {
    ASSIGN_OR_RETURN(const double least, CalibrateClip(a.epsilon, EpsilonBy(a, option, "rdp")));
    range = {.least = 1 / (4 * least), .most = 1 / least, .relative_error = 1e-7};
  }
  ASSIGN_OR_RETURN(a.*option, CalibrateClip(a.epsilon, EpsilonBy(a, option, accountant), range));
  ASSIGN_OR_RETURN(const PrivacyCost cost, CostOf(a, accountant));
  out.Line(absl::StrFormat("largest clip norm: %.9g", a.*option));
  return Report(a, accountant, cost, {{"solved", "clip"}, {"clip", a.*option}}, out);
}

absl::Status RunFewestBits(PrivacyArguments a, Output& out) {
  if (!a.is_distributed()) {
    return UsageError(
        absl::StrFormat("--solve bits: expected skellam or ddg, got %s", a.mechanism));
  }
  RETURN_IF_ERROR(CheckPrivacyArguments(&a, {.scale = false}));
  RETURN_IF_ERROR(CheckNoise(a));
  if (a.sampling_rate != 1) return UsageError("--solve bits: expected a sampling rate of 1");
  PrivacyArguments coarse = a;
  coarse.scale = 1 / a.clip;
  ASSIGN_OR_RETURN(const EncodingParameters start, EncodingOf(coarse));
  ASSIGN_OR_RETURN(const EncodingParameters fewest,
                   FewestBits(start, {.clients = static_cast<int>(a.clients),
                                      .honest_survivors = static_cast<int>(a.clients),
                                      .rounds = static_cast<int>(a.steps),
                                      .epsilon = a.epsilon,
                                      .delta = a.delta}));
  a.scale = fewest.scale;
  ASSIGN_OR_RETURN(const PrivacyCost cost, CostOf(a, "rdp"));
  return Report(a, "rdp", cost, {{"solved", "bits"}}, out);
}

absl::Status RunCalibrate(const PrivacyArguments& a, const std::string& solve, Output& out) {
  if (!(a.epsilon > 0)) return UsageError("--epsilon: expected a positive number");
  if (solve == "clip") return RunLargestClip(a, out);
  if (solve == "bits") return RunFewestBits(a, out);
  return RunSmallestSigma(a, out);
}

absl::Status RunRdp(PrivacyArguments a, const std::vector<double>& orders, Output& out) {
  RETURN_IF_ERROR(CheckPrivacyArguments(&a));
  RETURN_IF_ERROR(CheckNoise(a));
  if (a.mechanism != "gaussian") {
    return UsageError(absl::StrFormat("--mechanism: expected gaussian, got %s", a.mechanism));
  }
  json rows = json::array();
  const double steps = static_cast<double>(a.steps), noise = a.sigma / a.sensitivity;
  if (!(a.sampling_rate > 0 && a.sampling_rate <= 1)) {
    return UsageError(absl::StrFormat("--sampling-rate: expected a number above 0 to 1, got %g",
                                      a.sampling_rate));
  }
  for (const double order : orders) {
    if (!(order > 1 && order <= 1024)) {
      return UsageError(
          absl::StrFormat("--orders: expected numbers above 1 to 1024, got %g", order));
    }
    const double value = steps * SampledGaussianRdp(noise, a.sampling_rate, order);
    const double bound = steps * SampledGaussianRdpBound(noise, a.sampling_rate, order);
    out.Line(absl::StrFormat("order %g: %.9g (sum of magnitudes: %.9g)", order, value, bound));
    rows.push_back({{"order", order}, {"rdp", value}, {"rdp_bound", bound}});
  }
  out.SetJson({{"orders", std::move(rows)}, {"steps", a.steps}, {"sigma", a.sigma}});
  return absl::OkStatus();
}

struct Options {
  PrivacyArguments arguments;
  std::string solve = "sigma";
  std::vector<double> orders;
};

CLI::App* AddAccounting(Program& program, CLI::App* group, const std::string& name,
                        const std::string& help, Options* options, RunCommand run) {
  CLI::App* command = program.Add(group, name, help, std::move(run));
  AddPrivacyOptions(command, &options->arguments);
  command->add_option("--sigma", options->arguments.sigma,
                      "noise (skellam, ddg: standard deviation of one client's share)");
  command->add_option("--rho", options->arguments.rho, "of one release (zcdp)");
  return command;
}

}  // namespace

void AddPrivacyCommands(Program& program) {
  CLI::App* group = program.AddGroup("privacy", "What noise costs and buys (differential privacy)");
  auto options = std::make_shared<Options>();
  PrivacyArguments* a = &options->arguments;
  AddAccounting(program, group, "epsilon", "Epsilon of a mechanism at a delta", options.get(),
                [options](Output& out) { return RunEpsilon(options->arguments, out); });
  CLI::App* delta =
      AddAccounting(program, group, "delta", "Delta of a mechanism at an epsilon", options.get(),
                    [options](Output& out) { return RunDelta(options->arguments, out); });
  delta->add_option("--epsilon", a->epsilon, "at which")->required();
  CLI::App* calibrate = AddAccounting(
      program, group, "calibrate",
      "Smallest noise, largest clip norm or fewest bits for an epsilon", options.get(),
      [options](Output& out) { return RunCalibrate(options->arguments, options->solve, out); });
  calibrate->add_option("--epsilon", a->epsilon, "to reach")->required();
  calibrate
      ->add_option("--solve", options->solve,
                   "sigma (smallest), clip (largest, for --sigma) or bits (fewest, for --sigma)")
      ->check(CLI::IsMember({"sigma", "clip", "bits"}))
      ->capture_default_str();
  CLI::App* rdp = AddAccounting(
      program, group, "rdp", "Renyi divergence of a (sampled) Gaussian at given orders",
      options.get(),
      [options](Output& out) { return RunRdp(options->arguments, options->orders, out); });
  rdp->add_option("--orders", options->orders, "orders above 1")->required()->delimiter(',');
  AddPrivacyTables(program, group);
  AddPrivacyLedger(program, group);
}

}  // namespace lorikeet
