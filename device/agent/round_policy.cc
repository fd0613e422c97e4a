#include "device/agent/round_policy.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/accountant.h"

namespace lorikeet {
namespace {

absl::Status CheckRouting(const RoundDescription& round, const RoundPolicy& policy) {
  if (!round.layout.routed()) return absl::OkStatus();
  if (!policy.allow_routed) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "round refused: it is routed: for %d of %d personas, and reveals the histogram of choices "
        "(how many devices chose from each such bucket), and the owner has not allowed that",
        round.layout.persona_count, round.layout.catalog_personas));
  }
  if (round.token) return absl::OkStatus();
  return absl::PermissionDeniedError(
      "round refused: it is routed, and asks for no anonymous token: joining it by name would show "
      "what this device chose");
}

bool FitsCatalog(const UpdateLayout& layout, const Catalog& catalog) {
  const int all = layout.routed() ? layout.catalog_personas : layout.persona_count;
  return all == static_cast<int>(catalog.personas.size()) &&
         layout.first_persona + layout.persona_count <= all &&
         layout.block_size == catalog.block_size();
}

absl::Status CheckLimits(const RoundDescription& round, const RoundPolicy& policy) {
  if (!policy.federate) {
    return absl::PermissionDeniedError("round refused: the owner has not allowed federated rounds");
  }
  if (round.central && !policy.allow_central_noise) {
    return absl::PermissionDeniedError(
        "round refused: the coordinator would see the sum of all devices before noise, and the "
        "owner has not allowed that");
  }
  RETURN_IF_ERROR(CheckRouting(round, policy));
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

bool Covers(double stated, double epsilon) {
  return std::isfinite(epsilon) && stated >= epsilon - 1e-6 * std::max(1.0, epsilon);
}

// The stated epsilon must cover what the stated noise gives for the fewest survivors that the round
// allows, less those that this owner takes for corrupt.  It may be more: a coordinator that reckons
// with more of them states more, and more is charged.
absl::Status CheckPrivacyFigures(const RoundDescription& round, const RoundPolicy& policy,
                                 const LedgerEntry& charge) {
  const double corrupt = round.demonstration ? 0 : policy.assumed_corrupt_fraction;
  ASSIGN_OR_RETURN(const LedgerEntry least, ChargeFor(round, corrupt, charge.at));
  if (Covers(round.epsilon, least.own_epsilon) && std::isfinite(charge.own_epsilon)) {
    return absl::OkStatus();
  }
  if (round.central) {
    return absl::InvalidArgumentError(
        absl::StrFormat("round refused: it states epsilon %g, but the noise of its mechanism gives "
                        "%g",
                        round.epsilon, least.own_epsilon));
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "round refused: it states epsilon %g, but its noise gives %g: of the %d survivors at least, "
      "this device counts on %d to be honest",
      round.epsilon, least.own_epsilon, least.cohort_min, least.honest_survivors));
}

// The guarantee of a mechanism is for devices that keep to its separation and participations; each
// sees to that itself, by what its ledger says of earlier rounds.  A round counts once a
// contribution was handed out, whatever became of it.
absl::Status CheckMechanism(const RoundDescription& round, const DeviceLedger& ledger) {
  if (!round.central) return absl::OkStatus();
  const CentralNoise& now = *round.central;
  const auto earlier = ledger.EntriesOf(now.mechanism);
  for (const LedgerEntry* entry : earlier) {
    const CentralNoise& then = *entry->central();
    if (then.steps != now.steps || then.separation != now.separation ||
        then.participations != now.participations ||
        then.noise_multiplier != now.noise_multiplier || entry->delta != round.delta ||
        entry->stated_epsilon != round.epsilon) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "round refused: expected the mechanism that this device joined in step %d (%d steps, %d "
          "apart, at most %d, noise %g, epsilon %g at delta %g), got another under its name (%d, "
          "%d, %d, %g, %g, %g)",
          then.step, then.steps, then.separation, then.participations, then.noise_multiplier,
          entry->stated_epsilon, entry->delta, now.steps, now.separation, now.participations,
          now.noise_multiplier, round.epsilon, round.delta));
    }
    if (now.step < then.step + now.separation) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "round refused: this device was in step %d of its mechanism: expected step %d or later, "
          "got %d",
          then.step, then.step + now.separation, now.step));
    }
  }
  if (static_cast<int64_t>(earlier.size()) >= now.participations) {
    return absl::FailedPreconditionError(
        absl::StrFormat("round refused: its mechanism is for %d rounds of a device at most, and "
                        "this one was in as many",
                        now.participations));
  }
  return absl::OkStatus();
}

// Over all rounds of all tasks that this device has joined.
absl::Status CheckTotal(const RoundPolicy& policy, const AgentState& state,
                        const LedgerEntry& charge) {
  if (charge.demonstration) return absl::OkStatus();
  ASSIGN_OR_RETURN(const LedgerTotal total, TotalOf(state.ledger, policy.max_delta, &charge));
  if (total.epsilon <= policy.max_total_epsilon) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrFormat(
      "round refused: epsilon %g would bring this device to %g at delta %g, over its limit of %g",
      charge.epsilon(), total.epsilon, total.delta, policy.max_total_epsilon));
}

}  // namespace

absl::StatusOr<LedgerEntry> CheckRound(const RoundDescription& round, const RoundPolicy& policy,
                                       const AgentState& state, const Catalog& catalog,
                                       absl::Time now) {
  RETURN_IF_ERROR(CheckLimits(round, policy));
  RETURN_IF_ERROR(CheckInstalled(round, state));
  if (!FitsCatalog(round.layout, catalog) || round.encoding.dimension != round.layout.dimension() ||
      round.secagg.dimension != round.encoding.padded_dimension() ||
      round.secagg.modulus_bits != round.encoding.modulus_bits) {
    return absl::InvalidArgumentError(
        "round refused: its layout does not fit its catalog or itself");
  }
  if (now >= round.advertise_until) {
    return absl::FailedPreconditionError("round refused: its first step is over");
  }
  ASSIGN_OR_RETURN(LedgerEntry charge, ChargeFor(round, policy.assumed_corrupt_fraction, now));
  RETURN_IF_ERROR(CheckPrivacyFigures(round, policy, charge));
  RETURN_IF_ERROR(CheckMechanism(round, state.ledger));
  RETURN_IF_ERROR(CheckTotal(policy, state, charge));
  return charge;
}

}  // namespace lorikeet
