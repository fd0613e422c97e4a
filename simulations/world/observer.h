// What a simulated world shows to those who check it.
#ifndef LORIKEET_SIMULATIONS_WORLD_OBSERVER_H_
#define LORIKEET_SIMULATIONS_WORLD_OBSERVER_H_

#include <optional>
#include <string>
#include <vector>

#include "common/dp/encoder.h"
#include "coordinator/storage/store.h"
#include "device/agent/agent.h"

namespace lorikeet {

// The end of a round as the coordinator stored it, and the events that it was computed from.
struct FinishedRound {
  RoundRecord record;
  std::vector<RoundEventRecord> events = {};
  std::vector<PartialSumRecord> sums = {};
  bool spent = false;
  bool ends_sweep = true;  // see RoundEnd
  std::optional<ReleaseRecord> release;
  std::optional<NoiseRecord> noise;  // the task's, at the round's step
};

class WorldObserver {
 public:
  virtual ~WorldObserver() = default;
  // A device has prepared its noised, unmasked contribution.
  virtual void OnContribution(const std::string& device, const SessionId& session,
                              const EncodedDelta& contribution) = 0;
  // A device calls for the first time or again, by name or as a member of a round.
  virtual void OnSend(const std::string& device, const CallAction& call) = 0;
  // After every step of a device's agent.
  virtual void OnState(const std::string& device, const AgentState& state) = 0;
  virtual void OnRoundFinished(const FinishedRound& round) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_OBSERVER_H_
