// One simulated device: the production Agent, its store, and an edge that carries out its actions
// in virtual time.
//
// The edge behaves as agent_runner.h does: one call, one wake-up and one computation at a time.  A
// crash loses the agent and everything under way; its store survives.
#ifndef LORIKEET_SIMULATIONS_WORLD_SIM_DEVICE_H_
#define LORIKEET_SIMULATIONS_WORLD_SIM_DEVICE_H_

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "common/base/random.h"
#include "device/agent/agent.h"
#include "simulations/world/event_queue.h"
#include "simulations/world/job_pool.h"
#include "simulations/world/network.h"
#include "simulations/world/observer.h"
#include "simulations/world/sim_coordinator.h"
#include "simulations/world/traffic.h"
#include "simulations/world/work.h"

namespace lorikeet {

// What all devices of a world share; borrowed.
struct DeviceSurroundings {
  EventQueue* queue = nullptr;
  Network* network = nullptr;
  SimCoordinator* coordinator = nullptr;
  TrafficMeter* traffic = nullptr;
  WorldObserver* observer = nullptr;
  JobPool* jobs = nullptr;
};

class SimDevice {
 public:
  struct Options {
    std::string id;
    AgentOptions agent;
    uint64_t seed = 1;
    double dropout = 0;  // chance of a crash in a round that it joined
  };
  SimDevice(Options options, const DeviceSurroundings& surroundings,
            std::unique_ptr<SimulatedWork> work);

  // Starts the agent now.
  void Boot();

  const std::string& id() const { return options_.id; }
  // As last saved.
  const AgentState& state() const { return state_; }
  int crashes() const { return crashes_; }
  bool computing() const { return computing_; }
  bool running() const { return agent_ != nullptr && !final_; }
  // Set when the agent stopped by itself.
  const std::optional<absl::Status>& final_status() const { return final_; }

 private:
  // In which request's sending a device falls silent, and whether that one still goes out.
  struct PlannedCrash {
    size_t request_index = 0;  // in AgentRequest
    bool after_sending = false;
  };

  void Step(AgentEvent event);
  void Do(CallAction action);
  void Do(WaitAction action);
  void Do(const ReportAction&) {}
  void Do(StopAction action);
  void Do(const CheckBaseAction& action);
  void Do(const PersonalizeAction& action);
  void Do(const ContributeAction& action);

  void Send(const CallAction& action);
  void Deliver(const CallAction& action, const CallFate& fate, bool answered);
  void Tamper(AgentResponse* response);
  void PlanCrash();
  void Crash();
  // Runs `event(step)` later if the agent has not crashed until then.
  void Later(absl::Duration delay, std::function<void()> run);
  template <typename Result>
  std::shared_ptr<std::future<absl::StatusOr<Result>>> Launch(
      std::function<absl::StatusOr<Result>()> run);

  Options options_;
  DeviceSurroundings world_;
  std::unique_ptr<SimulatedWork> work_;
  SeededRandom random_;  // the agent's
  Rng dice_;             // crashes and tampering
  MemoryAgentStore store_;
  AgentState state_;
  std::unique_ptr<Agent> agent_;
  std::optional<absl::Status> final_;
  std::optional<PlannedCrash> planned_crash_;
  std::optional<SignedManifest> first_manifest_;
  std::shared_future<void> last_job_;
  bool computing_ = false;
  uint64_t life_ = 0;  // counts boots and crashes: older events are for an agent that is gone
  uint64_t wake_ = 0;
  int crashes_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_SIM_DEVICE_H_
