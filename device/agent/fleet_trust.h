// Whom a device believes: metadata that says which releases and keys are a fleet's, and the log
// that shows everybody the same.  A part of the agent's state machine: what it learns is in the
// agent's state, which is to be saved before anything is done with it.
#ifndef LORIKEET_DEVICE_AGENT_FLEET_TRUST_H_
#define LORIKEET_DEVICE_AGENT_FLEET_TRUST_H_

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/wire/federation.h"
#include "device/agent/agent_store.h"

namespace lorikeet {

class FleetTrust {
 public:
  // From `pinned`, the root that the device was enrolled with, and what was learned since; another
  // pinned root than last time starts anew.  Borrows the state.  Errors as
  // TrustState::FromRoot and Load.
  static absl::StatusOr<FleetTrust> Create(const SignedMetadata& pinned, AgentState* state);

  // Whether the state changed since the last call.
  bool TakeUnsaved() { return std::exchange(unsaved_, false); }

  TrustQuery NextQuery() const;
  // Errors as TrustState::Update; what was proven before the failure is kept.
  absl::Status Accept(const TrustUpdate& update, absl::Time now);

  // Whether these are the bytes of the manifest that a device may install now.  Errors as
  // TrustState::FindTarget and CheckTarget.
  absl::Status CheckManifest(ReleaseKind kind, std::string_view base_fingerprint,
                             std::string_view manifest, absl::Time now) const;
  // Errors as VerifyRoundDescription and TrustState::KeysOf.
  absl::StatusOr<RoundDescription> VerifyRound(const SignedRoundDescription& round,
                                               absl::Time now) const;

  LogQuery ProofOf(std::vector<LogEntry> entries) const;
  // Whether all entries are in the log that continues the one known.  Errors as CheckEvidence.
  absl::Status AcceptProof(std::span<const LogEntry> entries, const LogEvidence& evidence,
                           absl::Time now);

 private:
  FleetTrust(TrustState trust, AgentState* state) : trust_(std::move(trust)), state_(state) {}

  TrustState trust_;
  AgentState* state_;
  bool unsaved_ = false;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_FLEET_TRUST_H_
