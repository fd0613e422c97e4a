// The network between devices and a coordinator: delay, loss, repetition and tampering, as dice.
//
// Decides only; devices (sim_device.h) carry the decisions out.  Not thread-safe.
#ifndef LORIKEET_SIMULATIONS_WORLD_NETWORK_H_
#define LORIKEET_SIMULATIONS_WORLD_NETWORK_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/random.h"

namespace lorikeet {

struct FaultOptions {
  absl::Duration delay = absl::Milliseconds(40);   // one way, at least
  absl::Duration jitter = absl::Milliseconds(60);  // at most added to it, uniform
  absl::Duration timeout = absl::Seconds(10);      // until a device gives a call up
  double loss = 0;       // chance that a request or an answer is lost, each
  double duplicate = 0;  // chance that a request arrives twice
  double tamper = 0;     // chance that a release or a round offer is changed on its way
  absl::Duration restart = absl::ZeroDuration();  // mean time between kills of the coordinator; 0:
                                                  // never
};

// "loss=0.02,duplicate=0.01,tamper=0.01,delay=0.04,jitter=0.06,timeout=10,restart=120" (seconds);
// any of them, or "".  INVALID_ARGUMENT names the item, what was expected and what came.
absl::StatusOr<FaultOptions> ParseFaults(std::string_view spec);
std::string FaultsToString(const FaultOptions& faults);

// What happens to one call.
struct CallFate {
  bool request_arrives = true;
  bool duplicated = false;  // a second copy arrives; nobody waits for its answer
  bool answer_arrives = true;
  bool tampered = false;
  absl::Duration request_delay;
  absl::Duration duplicate_delay;
  absl::Duration answer_delay;
};

class Network {
 public:
  Network(const FaultOptions& faults, uint64_t seed) : faults_(faults), rng_(seed) {}
  CallFate NextCall();
  const FaultOptions& faults() const { return faults_; }

 private:
  absl::Duration Delay();
  FaultOptions faults_;
  Rng rng_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_NETWORK_H_
