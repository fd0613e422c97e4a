// What a device checks in a signed round description before it takes part, on its own account.
#ifndef LORIKEET_DEVICE_AGENT_ROUND_POLICY_H_
#define LORIKEET_DEVICE_AGENT_ROUND_POLICY_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/adapter/catalog.h"
#include "common/wire/round.h"
#include "device/agent/agent_store.h"
#include "device/agent/device_ledger.h"

namespace lorikeet {

struct RoundPolicy {
  bool federate = false;             // the owner's consent
  bool allow_demonstration = false;  // take part in rounds that are labelled as a demonstration
  bool allow_central_noise = false;  // rounds whose sum the coordinator sees before it adds noise
  bool allow_routed =
      false;            // rounds that show how many devices chose from each bucket of personas
  int min_cohort = 30;  // floor for n_min of a real round
  double max_round_epsilon = 8;
  double max_delta = 1e-5;        // an epsilon means something for a small delta only
  double max_total_epsilon = 50;  // over the device's life, at max_delta (device_ledger.h)
  // Share of a cohort that this owner takes for corrupt: they add no noise.  Their coordinator may
  // assume more of them, not fewer.
  double assumed_corrupt_fraction = 0.05;
};

// What to charge if the device may join.  PERMISSION_DENIED: the owner's consent or a limit of the
// policy; FAILED_PRECONDITION: another base or catalog than the installed one, joined before, or
// too late; INVALID_ARGUMENT: a description that contradicts itself (layout, privacy figures), or
// states less than this owner reckons.  Demonstration rounds skip the limits on cohort, epsilon,
// delta and corrupt devices, nothing else.
absl::StatusOr<LedgerEntry> CheckRound(const RoundDescription& round, const RoundPolicy& policy,
                                       const AgentState& state, const Catalog& catalog,
                                       absl::Time now);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_ROUND_POLICY_H_
