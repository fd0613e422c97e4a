// Routed rounds at the device: which of a list it takes part in, and when.
//
// Personas are in buckets, each with a round of its own; those that open together are a sweep.  By
// joining a device shows the bucket of its persona, so nothing else may show who joins:
// - The list is for everybody.  What a device does by name is decided on the whole sweep, before
// its
//   own bucket is looked at, and is the same for all buckets and if none fits: it asks for the
//   list, and then says nothing until all rounds of the sweep must be over.
// - It joins as a member, by anonymous token, at a random moment of an interval that is the same
// for
//   all devices; one that heard of the sweep too late for that stays out.
// - Right before that it asks for the list again, as nobody: a list made for one device would tell
//   its coordinator who joins from it.
// What this does not hide: addresses of the network, which callers by name and members share, and
// what a device's speed tells.
#ifndef LORIKEET_DEVICE_AGENT_SWEEP_PLAN_H_
#define LORIKEET_DEVICE_AGENT_SWEEP_PLAN_H_

#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/adapter/catalog.h"
#include "common/base/random.h"
#include "common/wire/round.h"
#include "device/agent/agent_store.h"
#include "device/agent/round_policy.h"

namespace lorikeet {

// What the rounds of a sweep have in common, and no others: task, catalog, deadlines and tokens.
Hash256 SweepId(const RoundDescription& round);

// The rounds of `list` that are of the sweep of `round`.
std::vector<RoundDescription> RoundsOfSweep(std::span<const RoundDescription> list,
                                            const RoundDescription& round);

// Whether this device takes part in a sweep, whatever its persona.  Errors as CheckRound, of any of
// its rounds; ALREADY_EXISTS: it did before; FAILED_PRECONDITION: it is too late.
absl::Status CheckSweep(std::span<const RoundDescription> sweep, const RoundPolicy& policy,
                        const AgentState& state, const Catalog& catalog, absl::Time now);

// The round of the sweep with this persona, if it is listed.
std::optional<RoundDescription> RoundOfPersona(std::span<const RoundDescription> sweep,
                                               int persona);

// Uniform in the first half of what is left of the first step at join_from.
absl::Time JoinMoment(const RoundDescription& round, RandomSource* random);

// Whether `later`, as shown to nobody in particular, is the sweep that was shown by name: `chosen`
// is in it, and nothing that was not in it before (rounds may be full by then).  DATA_LOSS.
absl::Status CheckSameSweep(std::span<const RoundDescription> sweep,
                            std::span<const RoundDescription> later,
                            const RoundDescription& chosen);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_SWEEP_PLAN_H_
