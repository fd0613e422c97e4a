// A simulated device's computations: real results, virtual durations.
//
// A computation is prepared on the simulation's thread (what it reads is copied) and may run on
// another: its result must depend on nothing but what it was given.
#ifndef LORIKEET_SIMULATIONS_WORLD_WORK_H_
#define LORIKEET_SIMULATIONS_WORLD_WORK_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "device/agent/agent.h"

namespace lorikeet {

template <typename Result>
struct Computation {
  absl::Duration duration;  // virtual
  std::function<absl::StatusOr<Result>()> run;
};

class SimulatedWork {
 public:
  virtual ~SimulatedWork() = default;
  // `catalog` is the installed file.  At most one computation of a device runs at a time.
  virtual Computation<PersonalSummary> Personalize(const PersonalizeAction& action,
                                                   std::string catalog, absl::Time now) = 0;
  virtual Computation<EncodedDelta> Contribute(const ContributeAction& action, std::string catalog,
                                               absl::Time now) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_WORK_H_
