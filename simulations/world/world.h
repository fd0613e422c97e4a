// Many devices and a coordinator in one process and one thread, in virtual time.
//
// Everything random follows from one seed: the same options give the same run.
#ifndef LORIKEET_SIMULATIONS_WORLD_WORLD_H_
#define LORIKEET_SIMULATIONS_WORLD_WORLD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "simulations/world/sim_device.h"

namespace lorikeet {

struct WorldOptions {
  int devices = 50;
  uint64_t seed = 1;
  double dropout = 0;
  FaultOptions faults;
  TaskConfig task;                         // task.rounds: how many are to be completed
  AgentOptions agent;                      // the keys of coordinator and issuer are filled in
  absl::Duration limit = absl::Hours(24);  // virtual; a world that is not finished then stops
  int threads = 1;  // for computations; changes nothing but the real duration
};

// Called for each device, in order; what it returns may use what the caller keeps alive.
using MakeWork = std::function<std::unique_ptr<SimulatedWork>(int index, uint64_t seed)>;

class World {
 public:
  // `observer` must outlive the world.
  static absl::StatusOr<std::unique_ptr<World>> Create(const WorldOptions& options,
                                                       const Catalog& catalog,
                                                       const MakeWork& make_work,
                                                       WorldObserver* observer);

  // Until all rounds are done and every device has personalized with the last catalog.
  // DEADLINE_EXCEEDED: not within the limit.  CANCELLED: the user asked to stop.
  absl::Status Run(const std::function<bool()>& stop_requested);

  SimCoordinator& coordinator() { return *coordinator_; }
  const std::vector<std::unique_ptr<SimDevice>>& devices() const { return devices_; }
  const TrafficMeter& traffic() const { return traffic_; }
  absl::Duration elapsed() const { return queue_.Now() - start_; }
  int64_t events() const { return queue_.events_run(); }
  int coordinator_kills() const { return kills_; }

 private:
  explicit World(const WorldOptions& options);
  void ScheduleTick();
  void ScheduleKill();
  absl::StatusOr<bool> Finished();

  WorldOptions options_;
  absl::Time start_;
  EventQueue queue_;
  Network network_;
  TrafficMeter traffic_;
  Rng dice_;
  int kills_ = 0;
  absl::Status coordinator_status_;
  std::unique_ptr<SimCoordinator> coordinator_;
  std::vector<std::unique_ptr<SimDevice>> devices_;
  std::unique_ptr<JobPool> jobs_;  // last: its jobs use what is above
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_WORLD_H_
