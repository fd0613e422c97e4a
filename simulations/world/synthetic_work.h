// Work without a language model: a device's "text" is a point, its loss the squared distance of a
// persona's cores from it.  A real optimization problem, and the production path from a core delta
// to a noised contribution, in microseconds.
#ifndef LORIKEET_SIMULATIONS_WORLD_SYNTHETIC_WORK_H_
#define LORIKEET_SIMULATIONS_WORLD_SYNTHETIC_WORK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/random.h"
#include "simulations/world/work.h"

namespace lorikeet {

struct SyntheticShape {
  int personas = 4;
  int rank = 4;  // of one square matrix: a persona's block is rank * rank numbers
};
// Personas at distinct points; devices lie around them (SyntheticWork).
Catalog SyntheticCatalog(const SyntheticShape& shape, uint64_t seed);

class SyntheticWork final : public SimulatedWork {
 public:
  // `catalog` is the first one: device `index` lies near persona index % personas, at a distance
  // that the fleet can close together.
  SyntheticWork(const Catalog& catalog, int index, uint64_t seed);
  Computation<PersonalSummary> Personalize(const PersonalizeAction& action, std::string catalog,
                                           absl::Time now) override;
  Computation<EncodedDelta> Contribute(const ContributeAction& action, std::string catalog,
                                       absl::Time now) override;

 private:
  std::vector<float> target_;
  double speed_ = 1;  // of this device, relative
  SeededRandom random_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_SYNTHETIC_WORK_H_
