// What selecting costs against the fine-tuning that follows it, by the size of the pool.
//
// Production code, nothing remembered between selections: every loss is measured anew.  CPU time of
// the whole process, all threads.
#ifndef LORIKEET_SIMULATIONS_SELECTION_COST_H_
#define LORIKEET_SIMULATIONS_SELECTION_COST_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/selector.h"
#include "simulations/selection/choosers.h"
#include "simulations/selection/persona_catalog.h"

namespace lorikeet {

struct CostOptions {
  std::vector<int> pools = {14, 28, 56, 84};
  std::vector<int> examples = {20, 80};  // of the owner's text
  int owners = 3;                        // means over so many
  int repeats = 3;                       // of a selection; the median counts
  double similarity = 0.9;
};

struct CostLine {
  int pool = 0;
  int examples = 0;
  double select_cpu_seconds = 0;
  double select_tokens = 0;  // predicted ones, of all candidates
  double train_cpu_seconds = 0;
  double train_tokens = 0;

  double share() const {
    return train_cpu_seconds > 0 ? select_cpu_seconds / train_cpu_seconds : 0;
  }
};

// `own` [persona], `neutral`: documents of owners.  Fine-tuning is what Personalize does by default
// between "training" and "judging", after a selection from `bench`.
absl::StatusOr<std::vector<CostLine>> MeasureCost(
    std::shared_ptr<const Model> model, ThreadPool* pool, const Bench& bench,
    std::span<const PersonaSeed> seeds, std::span<const std::vector<OwnerDocument>> own,
    std::span<const OwnerDocument> neutral, const SelectOptions& select, const CostOptions& options,
    uint64_t seed, const SelectionProgress& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_COST_H_
