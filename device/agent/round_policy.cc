#include "device/agent/round_policy.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/accountant.h"

namespace lorikeet {
namespace {

absl::Status CheckLimits(const RoundDescription& round, const RoundPolicy& policy,
                         const AgentState& state) {
  if (!policy.federate) {
    return absl::PermissionDeniedError("round refused: the owner has not allowed federated rounds");
  }
  if (round.demonstration) {
    return policy.allow_demonstration ? absl::OkStatus()
                                      : absl::PermissionDeniedError(
                                            "round refused: it is a demonstration, without real "
                                            "privacy, and the owner has not allowed those");
  }
  if (round.secagg.cohort_min < policy.min_cohort) {
    return absl::PermissionDeniedError(
        absl::StrFormat("round refused: expected a cohort of at least %d, got %d",
                        policy.min_cohort, round.secagg.cohort_min));
  }
  if (!(round.epsilon <= policy.max_round_epsilon)) {
    return absl::PermissionDeniedError(
        absl::StrFormat("round refused: expected epsilon of at most %g, got %g",
                        policy.max_round_epsilon, round.epsilon));
  }
  if (!(round.delta <= policy.max_delta)) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "round refused: expected delta of at most %g, got %g", policy.max_delta, round.delta));
  }
  if (state.epsilon_spent + round.epsilon > policy.max_total_epsilon) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "round refused: epsilon %g would bring this device to %g, over its limit of %g",
        round.epsilon, state.epsilon_spent + round.epsilon, policy.max_total_epsilon));
  }
  return absl::OkStatus();
}

absl::Status CheckInstalled(const RoundDescription& round, const AgentState& state) {
  if (!state.catalog)
    return absl::FailedPreconditionError("round refused: no catalog is installed");
  if (round.base_fingerprint != state.catalog->base_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat("round refused: expected base ",
                                                      state.catalog->base_fingerprint, ", got ",
                                                      round.base_fingerprint));
  }
  const std::string installed = ToHex(state.catalog->file_hash);
  if (round.catalog_hash != installed || round.catalog_version != state.catalog->version) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "round refused: expected catalog version %d (%s), got version %d (%s)",
        state.catalog->version, installed, round.catalog_version, round.catalog_hash));
  }
  const auto& joined = state.joined;
  if (std::find(joined.begin(), joined.end(), round.secagg.session) != joined.end()) {
    return absl::FailedPreconditionError("round refused: this device joined it before");
  }
  return absl::OkStatus();
}

// The stated epsilon must cover what the stated noise gives for the fewest survivors that the round
// allows.  It may be more: a coordinator that reckons with corrupt devices, which add no noise,
// states more, and more is charged.
absl::Status CheckPrivacyFigures(const RoundDescription& round) {
  ASSIGN_OR_RETURN(const double epsilon, RoundEpsilon(round.encoding, round.secagg.cohort_min,
                                                      /*rounds=*/1, round.delta));
  if (!std::isfinite(epsilon) || !(round.epsilon >= epsilon - 1e-6 * std::max(1.0, epsilon))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "round refused: it states epsilon %g, but its noise gives %g", round.epsilon, epsilon));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckRound(const RoundDescription& round, const RoundPolicy& policy,
                        const AgentState& state, const Catalog& catalog, absl::Time now) {
  RETURN_IF_ERROR(CheckLimits(round, policy, state));
  RETURN_IF_ERROR(CheckInstalled(round, state));
  if (round.layout.persona_count != static_cast<int>(catalog.personas.size()) ||
      round.layout.block_size != catalog.block_size() ||
      round.encoding.dimension != round.layout.dimension() ||
      round.secagg.dimension != round.encoding.padded_dimension() ||
      round.secagg.modulus_bits != round.encoding.modulus_bits) {
    return absl::InvalidArgumentError(
        "round refused: its layout does not fit its catalog or itself");
  }
  if (now >= round.advertise_until) {
    return absl::FailedPreconditionError("round refused: its first step is over");
  }
  return CheckPrivacyFigures(round);
}

}  // namespace lorikeet
