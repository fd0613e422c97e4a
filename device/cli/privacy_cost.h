// What the mechanism described by `lorikeet privacy` options costs.  Not a command.
#ifndef LORIKEET_DEVICE_CLI_PRIVACY_COST_H_
#define LORIKEET_DEVICE_CLI_PRIVACY_COST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/cli/program.h"
#include "common/dp/encoder.h"
#include "common/dp/rdp.h"

namespace lorikeet {

struct PrivacyArguments {
  std::string mechanism;
  std::string accountant;           // empty: the best there is for the mechanism
  std::vector<std::string> events;  // gaussian: more releases, "SIGMA[:RATE[:STEPS]]"
  double sigma = 0;                 // gaussian, laplace: noise; skellam, ddg: of a client's share
  double rho = 0;                   // zcdp
  double delta = 1e-6;
  double epsilon = 0;
  int64_t steps = 1;
  double sampling_rate = 1;
  double sensitivity = 1;
  double clip = 1;
  int64_t dimension = 0;
  double scale = 0;
  int64_t clients = 0;

  bool is_distributed() const { return mechanism == "skellam" || mechanism == "ddg"; }
};

struct PrivacyCost {
  double epsilon = 0;
  std::optional<double> order;  // of the Renyi bound, where one was used
};

// Which of the options a command needs besides the mechanism.
struct PrivacyOptionNeeds {
  bool scale = true;  // skellam, ddg: false where it is searched for
};

// Options that all accounting commands share.
void AddPrivacyOptions(CLI::App* command, PrivacyArguments* arguments);
// Usage errors; pads the dimension to a power of two.
absl::Status CheckPrivacyArguments(PrivacyArguments* arguments,
                                   const PrivacyOptionNeeds& needs = {});
// "exact", "rdp", "pld" or "zcdp".  A usage error where the one asked for does not apply.
absl::StatusOr<std::string> AccountantFor(const PrivacyArguments& arguments);

// The Renyi curve of the mechanism, all steps and events together.
absl::StatusOr<RdpCurve> CurveOf(const PrivacyArguments& arguments);
// Epsilon at arguments.delta.
absl::StatusOr<PrivacyCost> CostOf(const PrivacyArguments& arguments,
                                   const std::string& accountant);
// The smallest delta for which epsilon is at most arguments.epsilon.
absl::StatusOr<double> DeltaOf(const PrivacyArguments& arguments, const std::string& accountant);

// skellam, ddg: what each client adds; the modulus is the smallest that all of them need.
absl::StatusOr<EncodingParameters> EncodingOf(const PrivacyArguments& arguments);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PRIVACY_COST_H_
