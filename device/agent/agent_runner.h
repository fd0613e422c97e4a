// The edge of a real agent: carries out actions with threads, the network and the clock on the
// wall.
#ifndef LORIKEET_DEVICE_AGENT_AGENT_RUNNER_H_
#define LORIKEET_DEVICE_AGENT_AGENT_RUNNER_H_

#include <functional>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/wire/federation.h"
#include "device/agent/agent.h"
#include "device/agent/agent_work.h"

namespace lorikeet {

struct AgentRunnerHooks {
  // Called on the runner's thread for every ReportAction.
  std::function<void(const ReportAction&)> report;
  // Polled a few times a second; true ends the run after the current call, with OK.
  std::function<bool()> stop_requested;
};

// Runs until the agent stops; its final status.  Calls go out on the caller's thread, computations
// on one worker.
absl::Status RunAgent(Agent* agent, const AgentServices& services, AgentWork* work,
                      const Clock& clock, const AgentRunnerHooks& hooks);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_AGENT_RUNNER_H_
