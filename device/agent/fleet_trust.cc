#include "device/agent/fleet_trust.h"

#include <utility>

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/manifest.h"
#include "common/wire/sign_round.h"

namespace lorikeet {

absl::StatusOr<FleetTrust> FleetTrust::Create(const SignedMetadata& pinned, AgentState* state) {
  const Hash256 name = Blake2b(AsBytes(pinned.bytes));
  if (state->trust && state->trust->pinned == name) {
    ASSIGN_OR_RETURN(TrustState trust, TrustState::Load(state->trust->documents));
    return FleetTrust(std::move(trust), state);
  }
  ASSIGN_OR_RETURN(TrustState trust, TrustState::FromRoot(pinned));
  // Enrolled anew, perhaps in another fleet: its log is not a second view of the old one's.
  state->trust = StoredTrust{name, trust.documents()};
  state->tree_head.reset();
  FleetTrust fresh(std::move(trust), state);
  fresh.unsaved_ = true;
  return fresh;
}

TrustQuery FleetTrust::NextQuery() const {
  TrustQuery query{.root_version = trust_.root().version};
  if (trust_.snapshot()) query.snapshot_version = trust_.snapshot()->version;
  if (trust_.targets()) query.targets_version = trust_.targets()->version;
  return query;
}

absl::Status FleetTrust::Accept(const TrustUpdate& update, absl::Time now) {
  const absl::Status updated = trust_.Update(update, now);
  if (state_->trust->documents == trust_.documents()) return updated;
  state_->trust->documents = trust_.documents();
  unsaved_ = true;
  return updated;
}

absl::Status FleetTrust::CheckManifest(ReleaseKind kind, std::string_view base_fingerprint,
                                       std::string_view manifest, absl::Time now) const {
  const std::string name = TargetName(kind, base_fingerprint);
  ASSIGN_OR_RETURN(const TargetFile target, trust_.FindTarget(name, now));
  return CheckTarget(name, target, AsBytes(manifest));
}

absl::StatusOr<RoundDescription> FleetTrust::VerifyRound(const SignedRoundDescription& round,
                                                         absl::Time now) const {
  ASSIGN_OR_RETURN(const RoleKeys keys, trust_.KeysOf(TrustRole::kRounds, now));
  return VerifyRoundDescription(round, keys.Has(round.key) ? round.key : keys.keys.front());
}

LogQuery FleetTrust::ProofOf(std::vector<LogEntry> entries) const {
  return {.known_size = state_->tree_head ? state_->tree_head->tree.size : 0,
          .entries = std::move(entries)};
}

absl::Status FleetTrust::AcceptProof(std::span<const LogEntry> entries, const LogEvidence& evidence,
                                     absl::Time now) {
  ASSIGN_OR_RETURN(const RoleKeys keys, trust_.KeysOf(TrustRole::kLog, now));
  RETURN_IF_ERROR(CheckEvidence(entries, evidence, state_->tree_head, keys.keys));
  if (state_->tree_head && state_->tree_head->tree == evidence.head.tree) return absl::OkStatus();
  state_->tree_head = evidence.head;
  unsaved_ = true;
  return absl::OkStatus();
}

}  // namespace lorikeet
