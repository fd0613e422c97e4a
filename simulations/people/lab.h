// What every experiment here needs: the base model, one thread, a catalog made by the production
// builder.
//
// One thread, because results of training depend on their number and processor time is what is
// compared.
#ifndef LORIKEET_SIMULATIONS_PEOPLE_LAB_H_
#define LORIKEET_SIMULATIONS_PEOPLE_LAB_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "simulations/selection/persona_catalog.h"

namespace lorikeet {

// Done of total, and what is going on.  Returns false to stop.
using LabProgress = std::function<bool(int done, int total, std::string_view what)>;

struct Lab {
  static absl::StatusOr<Lab> Open(const std::string& model_path);

  std::shared_ptr<const Model> model;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Clock> clock;
};

// Processor seconds of this process so far.
double CpuSecondsNow();

struct CatalogRecipe {
  std::string path;  // kept there and reused; empty: not kept
  int rank = 8;
  int persona_steps = 0;  // 0: as many epochs as the production builder
};
// A catalog of these personas by the production builder (selection/persona_catalog.h, whose errors
// it gives); CANCELLED if progress says so.  Deterministic.
absl::StatusOr<Catalog> MakeCatalog(const Lab& lab, std::span<const PersonaSeed> seeds,
                                    std::span<const std::string> neutral,
                                    const CatalogRecipe& recipe, const LabProgress& progress);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_LAB_H_
