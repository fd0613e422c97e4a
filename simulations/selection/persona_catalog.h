// The catalog that trials choose from: trained once, kept in a file, and continued where it was
// interrupted.
#ifndef LORIKEET_SIMULATIONS_SELECTION_PERSONA_CATALOG_H_
#define LORIKEET_SIMULATIONS_SELECTION_PERSONA_CATALOG_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/catalog_builder.h"

namespace lorikeet {

// A stage, how much of it is done, and how much there is.  Returns false to stop.
using SelectionProgress = std::function<bool(std::string_view stage, int64_t done, int64_t total)>;

struct PersonaCatalogOptions {
  std::string path;  // file to use and to keep it in; empty: neither
  BasisOptions basis;
  PersonaOptions training;
};

struct PersonaSeed {
  std::string id;
  std::vector<std::string> documents;
};

// A catalog of exactly these personas in this order.  The basis comes from the neutral text and
// all seeds, the style background from the neutral text.
//
// A file made by this function says by its version which texts it was made from
// (SeedVersion); other texts are FAILED_PRECONDITION.  A catalog made elsewhere is taken as it is
// if it holds all the ids; then whether the owners' text is held out is the caller's to know.
absl::StatusOr<Catalog> MakePersonaCatalog(std::shared_ptr<const Model> model, ThreadPool* pool,
                                           std::span<const PersonaSeed> seeds,
                                           std::span<const std::string> neutral,
                                           const PersonaCatalogOptions& options,
                                           const SelectionProgress& progress = nullptr);

// At least 2^32, which no catalog counts up to.
uint64_t SeedVersion(std::span<const PersonaSeed> seeds, std::span<const std::string> neutral,
                     const PersonaCatalogOptions& options);

// The first `size` personas, or more than there are: then copies follow, named "<id>-2" and so on,
// whose cores are moved by a tenth of their length at random and whose cards are counted over
// every other seed document, so that no two personas are the same.
Catalog PoolOfSize(const Catalog& catalog, std::span<const PersonaSeed> seeds, int size,
                   uint64_t random_seed);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_PERSONA_CATALOG_H_
