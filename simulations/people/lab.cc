#include "simulations/people/lab.h"

#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/catalog_builder.h"

namespace lorikeet {
absl::StatusOr<Lab> Lab::Open(const std::string& model_path) {
  Lab lab;
  ASSIGN_OR_RETURN(lab.model, Model::Load(model_path));
  lab.pool = std::make_unique<ThreadPool>(1);
  lab.clock = std::make_unique<SystemClock>();
  return lab;
}

double CpuSecondsNow() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

absl::StatusOr<Catalog> MakeCatalog(const Lab& lab, std::span<const PersonaSeed> seeds,
                                    std::span<const std::string> neutral,
                                    const CatalogRecipe& recipe, const LabProgress& progress) {
  PersonaCatalogOptions options;
  options.path = recipe.path;
  options.basis.rank = recipe.rank;
  options.basis.alpha = static_cast<float>(2 * recipe.rank);
  options.training.train = DefaultPersonaTraining();
  options.training.train.max_steps = recipe.persona_steps;
  return MakePersonaCatalog(lab.model, lab.pool.get(), seeds, neutral, options,
                            [&](std::string_view stage, int64_t done, int64_t total) {
                              return progress == nullptr ||
                                     progress(static_cast<int>(done), static_cast<int>(total),
                                              absl::StrCat("catalog: ", ToAbsl(stage)));
                            });
}

}  // namespace lorikeet
