// The long computations of an agent, behind an interface: a real device's (device_work.h) or a
// simulated one's.
#ifndef LORIKEET_DEVICE_AGENT_AGENT_WORK_H_
#define LORIKEET_DEVICE_AGENT_AGENT_WORK_H_

#include "absl/status/statusor.h"
#include "common/dp/encoder.h"
#include "device/agent/agent.h"

namespace lorikeet {

class AgentWork {
 public:
  virtual ~AgentWork() = default;
  // Tries the base that was downloaded, beside the one in use.
  virtual BaseHealth CheckBase(const CheckBaseAction& action) = 0;
  // Select, warm-start, train, judge; keeps or rolls back the personal adapter.
  virtual absl::StatusOr<PersonalSummary> Personalize(const PersonalizeAction& action) = 0;
  // Trains the persona's core on text that the owner allows for rounds, and prepares the noised
  // contribution.
  virtual absl::StatusOr<EncodedDelta> Contribute(const ContributeAction& action) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_AGENT_WORK_H_
