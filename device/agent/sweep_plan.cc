#include "device/agent/sweep_plan.h"

#include <algorithm>
#include <set>
#include <string>

#include "common/base/status_macros.h"
#include "common/wire/encode.h"

namespace lorikeet {
namespace {

// What buckets of the same size have in common.
std::string WithoutBucket(RoundDescription round) {
  round.round_number = 0;
  round.layout.first_persona = 0;
  round.encoding.rotation_seed = {};
  return Encode(round);
}

bool Contains(std::span<const RoundDescription> rounds, const SessionId& session) {
  return std::ranges::any_of(
      rounds, [&](const RoundDescription& round) { return round.secagg.session == session; });
}

}  // namespace

Hash256 SweepId(const RoundDescription& round) {
  const TokenDemand token = round.token.value_or(TokenDemand{});
  Hasher hasher;
  hasher.Update("lorikeet sweep").UpdateUint64(round.task.size()).Update(round.task);
  hasher.UpdateUint64(round.catalog_hash.size()).Update(round.catalog_hash);
  hasher.UpdateUint64(round.catalog_version);
  hasher.UpdateUint64(token.epoch).UpdateSized(token.key_id);
  for (const absl::Time time : {round.join_from, round.advertise_until, round.share_until,
                                round.mask_until, round.acknowledge_until, round.unmask_until}) {
    hasher.UpdateUint64(static_cast<uint64_t>(absl::ToUnixMillis(time)));
  }
  return hasher.Finish();
}

std::vector<RoundDescription> RoundsOfSweep(std::span<const RoundDescription> list,
                                            const RoundDescription& round) {
  const Hash256 sweep = SweepId(round);
  std::vector<RoundDescription> rounds;
  std::ranges::copy_if(list, std::back_inserter(rounds), [&](const RoundDescription& other) {
    return other.layout.routed() && SweepId(other) == sweep;
  });
  return rounds;
}

absl::Status CheckSweep(std::span<const RoundDescription> sweep, const RoundPolicy& policy,
                        const AgentState& state, const Catalog& catalog, absl::Time now) {
  std::set<std::string> checked;
  for (const RoundDescription& round : sweep) {
    if (!checked.insert(WithoutBucket(round)).second) continue;
    RETURN_IF_ERROR(CheckRound(round, policy, state, catalog, now).status());
  }
  if (std::ranges::find(state.sweeps, SweepId(sweep.front())) != state.sweeps.end()) {
    return absl::AlreadyExistsError(
        "round left out: this device was in one of those that opened with it");
  }
  if (now <= sweep.front().join_from) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "round left out: too late to join it unnoticed among the others");
}

std::optional<RoundDescription> RoundOfPersona(std::span<const RoundDescription> sweep,
                                               int persona) {
  for (const RoundDescription& round : sweep) {
    const int index = persona - round.layout.first_persona;
    if (persona >= 0 && index >= 0 && index < round.layout.persona_count) return round;
  }
  return std::nullopt;
}

absl::Time JoinMoment(const RoundDescription& round, RandomSource* random) {
  constexpr uint64_t kSteps = uint64_t{1} << 32;
  const double share = static_cast<double>(random->UniformUint64(kSteps)) / kSteps;
  return round.join_from + (round.advertise_until - round.join_from) / 2 * share;
}

absl::Status CheckSameSweep(std::span<const RoundDescription> sweep,
                            std::span<const RoundDescription> later,
                            const RoundDescription& chosen) {
  if (!Contains(later, chosen.secagg.session)) {
    return absl::DataLossError(
        "round refused: expected it in the list that everybody is shown, got one without it: it is "
        "full, or was shown to this device only");
  }
  for (const RoundDescription& round : later) {
    // Of the same task; other tasks have sweeps of their own.
    if (!round.layout.routed() || round.task != chosen.task) continue;
    if (!Contains(sweep, round.secagg.session)) {
      return absl::DataLossError(
          "round refused: expected the list that this device was shown by name, got one with other "
          "rounds: who joins from which list would show who joins");
    }
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
