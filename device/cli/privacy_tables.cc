#include "device/cli/privacy_tables.h"

#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/dp/accountant.h"
#include "common/dp/encoder.h"
#include "common/dp/matrix_noise.h"
#include "common/dp/utility.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct NormArguments {
  double scaled_norm = 0;
  int64_t dimension = 0;
};

absl::Status RunNormBound(const NormArguments& a, Output& out) {
  if (!(a.scaled_norm > 0 && a.scaled_norm <= kLargestScaledNorm)) {
    return UsageError(
        absl::StrFormat("--scaled-norm: expected a number above 0 to 2^40, got %g", a.scaled_norm));
  }
  if (a.dimension < 1 || a.dimension > int64_t{1} << 28) {
    return UsageError(absl::StrFormat("--dimension: expected 1 to 2^28, got %d", a.dimension));
  }
  const auto padded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(a.dimension)));
  const double bound = RoundedNormBound(a.scaled_norm, padded);
  out.Line(absl::StrFormat("norm %.9g in %d coordinates is at most %.9f after rounding",
                           a.scaled_norm, padded, bound));
  out.SetJson({{"bound", bound}, {"scaled_norm", a.scaled_norm}, {"dimension", padded}});
  return absl::OkStatus();
}

struct ToeplitzArguments {
  MatrixShape shape;
  double noise_multiplier = 1;
  double delta = 1e-6;
  int64_t trials = 0;  // coordinates of measured noise; 0: none
};

// The root mean square noise in a prefix sum, as the generator makes it.
absl::StatusOr<double> MeasuredError(const ToeplitzArguments& a, double sensitivity) {
  CorrelatedNoise::Options options{.shape = a.shape,
                                   .deviation = a.noise_multiplier * sensitivity,
                                   .dimension = a.trials,
                                   .seed = {}};
  SystemRandom().Fill(options.seed);
  ASSIGN_OR_RETURN(CorrelatedNoise noise, CorrelatedNoise::Create(options));
  std::vector<double> prefix(a.trials, 0.0);
  double squares = 0;
  for (int64_t step = 0; step < a.shape.steps; ++step) {
    ASSIGN_OR_RETURN(const std::vector<double> next, noise.Next());
    for (size_t i = 0; i < prefix.size(); ++i) {
      prefix[i] += next[i];
      squares += prefix[i] * prefix[i];
    }
  }
  return std::sqrt(squares / static_cast<double>(a.shape.steps * a.trials));
}

absl::Status RunToeplitz(const ToeplitzArguments& a, Output& out) {
  RETURN_IF_ERROR(ValidateMatrixShape(a.shape));
  const double sensitivity = MatrixSensitivity(a.shape);
  const PrefixError error = PrefixErrorOf(a.shape);
  ASSIGN_OR_RETURN(const double epsilon, GaussianEpsilon(a.noise_multiplier, 1, a.delta));
  const int64_t participations = ParticipationsOf(a.shape);
  out.Line(absl::StrFormat(
      "sensitivity %.9f: square-root Toeplitz, %d rounds, a device in up to %d of them, %d apart",
      sensitivity, a.shape.steps, participations, a.shape.separation));
  out.Line(
      absl::StrFormat("(%.6g, %g)-differentially private over all rounds at noise multiplier "
                      "%g; the noise's deviation is %.9g clip norms",
                      epsilon, a.delta, a.noise_multiplier, a.noise_multiplier * sensitivity));
  out.Line(absl::StrFormat(
      "noise in a prefix sum, clip norms: %.6g; with independent noise of that epsilon %.6g",
      a.noise_multiplier * error.correlated, a.noise_multiplier * error.independent));
  json document = {{"sensitivity", sensitivity},
                   {"steps", a.shape.steps},
                   {"separation", a.shape.separation},
                   {"participations", participations},
                   {"epsilon", epsilon},
                   {"delta", a.delta},
                   {"accountant", "exact"},
                   {"prefix_error", a.noise_multiplier * error.correlated},
                   {"prefix_error_independent", a.noise_multiplier * error.independent}};
  if (a.trials > 0) {
    ASSIGN_OR_RETURN(const double measured, MeasuredError(a, sensitivity));
    out.Line(absl::StrFormat("measured over %d coordinates: %.6g", a.trials, measured));
    document["prefix_error_measured"] = measured;
  }
  out.SetJson(std::move(document));
  return absl::OkStatus();
}

struct UtilityArguments {
  std::vector<int64_t> clients = {50, 100, 200, 500, 1000, 10000};
  std::vector<double> epsilons = {1, 2, 4, 8};
  std::vector<int64_t> dimensions = {256, 1024, 10752};
  UtilityRequest request;
};

absl::Status RunUtility(const UtilityArguments& a, Output& out) {
  json rows = json::array();
  out.Line(absl::StrFormat(
      "noise over clip norm in the mean of a persona's core; %d persona(s) share the devices, %d "
      "round(s) the budget, delta %g; no release above %g",
      a.request.personas, a.request.rounds, a.request.delta, kLargestNoiseRatio));
  out.Line(absl::StrFormat("%8s %9s %8s %8s %11s  %s", "devices", "numbers", "epsilon", "sigma/c",
                           "noise/clip", "release"));
  for (const int64_t dimension : a.dimensions) {
    for (const int64_t clients : a.clients) {
      for (const double epsilon : a.epsilons) {
        UtilityRequest request = a.request;
        request.clients = clients;
        request.dimension = dimension;
        request.epsilon = epsilon;
        ASSIGN_OR_RETURN(const Utility utility, UtilityOf(request));
        out.Line(absl::StrFormat("%8d %9d %8g %8.3f %11.3f  %s", clients, dimension, epsilon,
                                 utility.noise_multiplier, utility.noise_ratio,
                                 utility.release ? "yes" : "no: needs " + UtilityAdvice(utility)));
        rows.push_back({{"clients", clients},
                        {"dimension", dimension},
                        {"epsilon", epsilon},
                        {"noise_multiplier", utility.noise_multiplier},
                        {"noise_ratio", utility.noise_ratio},
                        {"release", utility.release},
                        {"clients_needed", utility.clients_needed},
                        {"dimension_needed", utility.dimension_needed},
                        {"epsilon_needed", utility.epsilon_needed}});
      }
    }
  }
  out.SetJson({{"rows", std::move(rows)},
               {"personas", a.request.personas},
               {"rounds", a.request.rounds},
               {"delta", a.request.delta},
               {"largest_noise_ratio", kLargestNoiseRatio}});
  return absl::OkStatus();
}

void AddToeplitz(Program& program, CLI::App* group) {
  auto a = std::make_shared<ToeplitzArguments>();
  CLI::App* command = program.Add(
      group, "toeplitz", "Correlated central noise for repeated rounds: sensitivity and error",
      [a](Output& out) { return RunToeplitz(*a, out); });
  command->add_option("--steps", a->shape.steps, "rounds")->required();
  command->add_option("--separation", a->shape.separation, "rounds between a device's, at least")
      ->capture_default_str();
  command
      ->add_option("--participations", a->shape.participations,
                   "rounds a device takes part in, at most; 0: as many as fit")
      ->capture_default_str();
  command->add_option("--bands", a->shape.bands, "coefficients kept; 0: all")
      ->capture_default_str();
  command->add_option("--noise-multiplier", a->noise_multiplier, "noise over sensitivity")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--delta", a->delta, "delta")->capture_default_str();
  command->add_option("--measure", a->trials, "also make the noise, with this many coordinates")
      ->check(CLI::Range(0, 10000000));
}

void AddUtility(Program& program, CLI::App* group) {
  auto a = std::make_shared<UtilityArguments>();
  CLI::App* command =
      program.Add(group, "utility", "What a noised mean is worth, by fleet, budget and dimension",
                  [a](Output& out) { return RunUtility(*a, out); });
  command->add_option("--clients", a->clients, "devices in a round")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--epsilon", a->epsilons, "budgets")->delimiter(',')->capture_default_str();
  command->add_option("--dimension", a->dimensions, "numbers in a persona's core")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--personas", a->request.personas, "among which the devices spread evenly")
      ->capture_default_str();
  command->add_option("--rounds", a->request.rounds, "that share the budget")
      ->capture_default_str();
  command->add_option("--delta", a->request.delta, "delta")->capture_default_str();
}

}  // namespace

void AddPrivacyTables(Program& program, CLI::App* group) {
  auto norm = std::make_shared<NormArguments>();
  CLI::App* command =
      program.Add(group, "norm-bound", "Largest norm of a vector after conditional rounding",
                  [norm](Output& out) { return RunNormBound(*norm, out); });
  command->add_option("--scaled-norm", norm->scaled_norm, "clip norm x scale")->required();
  command->add_option("--dimension", norm->dimension, "coordinates")->required();
  AddToeplitz(program, group);
  AddUtility(program, group);
}

}  // namespace lorikeet
