// Work with a real language model, small enough for many devices on one machine: the production
// selection, training and contribution, with few steps and small budgets.
#ifndef LORIKEET_SIMULATIONS_WORLD_MODEL_WORK_H_
#define LORIKEET_SIMULATIONS_WORLD_MODEL_WORK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "device/model/model.h"
#include "device/personalization/personalizer.h"
#include "device/vault/private_text.h"
#include "simulations/world/work.h"

namespace lorikeet {

class ModelWork final : public SimulatedWork {
 public:
  struct Options {
    std::shared_ptr<const Model> model;  // shared by all devices: it is never written
    std::vector<PrivateText> documents;  // the owner's
    PersonalizeOptions personalize;
    uint64_t seed = 1;
  };
  explicit ModelWork(Options options);

  Computation<PersonalSummary> Personalize(const PersonalizeAction& action, std::string catalog,
                                           absl::Time now) override;
  Computation<EncodedDelta> Contribute(const ContributeAction& action, std::string catalog,
                                       absl::Time now) override;

 private:
  absl::Duration TimeFor(int64_t tokens) const;
  Options options_;
  std::optional<PersonalAdapter> adapter_;  // kept until now
  double tokens_per_second_ = 0;            // of the simulated device
  SeededRandom random_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_MODEL_WORK_H_
