#include "simulations/selection/persona_catalog.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMadeHere = uint64_t{1} << 32;  // versions from here on are SeedVersion's

void Update(std::span<const std::string> documents, Hasher* hasher) {
  hasher->UpdateUint64(documents.size());
  for (const std::string& document : documents) hasher->UpdateSized(AsBytes(document));
}

std::vector<std::string_view> Views(std::span<const std::string> documents) {
  return {documents.begin(), documents.end()};
}

// The personas that `seeds` names, in their order; INVALID_ARGUMENT names one that is missing.
absl::StatusOr<Catalog> TakePersonas(Catalog catalog, std::span<const PersonaSeed> seeds,
                                     const std::string& path) {
  std::vector<Persona> personas;
  for (const PersonaSeed& seed : seeds) {
    const int index = catalog.FindPersona(seed.id);
    if (index < 0) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: expected a persona %s, found %d others", path, seed.id, catalog.personas.size()));
    }
    personas.push_back(catalog.personas[static_cast<size_t>(index)]);
  }
  catalog.personas = std::move(personas);
  return catalog;
}

// The kept catalog, complete or begun; a new one without personas where there is none.
absl::StatusOr<Catalog> OpenOrInit(std::shared_ptr<const Model> model, ThreadPool* pool,
                                   std::span<const PersonaSeed> seeds,
                                   std::span<const std::string> neutral,
                                   const PersonaCatalogOptions& options) {
  const uint64_t version = SeedVersion(seeds, neutral, options);
  if (!options.path.empty() && FileExists(options.path)) {
    ASSIGN_OR_RETURN(Catalog catalog, ReadCatalog(options.path));
    if (catalog.base_fingerprint != model->fingerprint()) {
      return absl::FailedPreconditionError(
          absl::StrCat(options.path, ": expected a catalog for base ", model->fingerprint(),
                       ", found one for ", catalog.base_fingerprint));
    }
    if (catalog.version < kMadeHere) return TakePersonas(std::move(catalog), seeds, options.path);
    if (catalog.version != version) {
      return absl::FailedPreconditionError(absl::StrCat(
          options.path, ": expected a catalog made from these texts (version ", version,
          "), found one from others (", catalog.version, "); remove it or name another file"));
    }
    return catalog;
  }
  BasisOptions basis = options.basis;
  for (const PersonaSeed& seed : seeds) {
    basis.seed_documents.insert(basis.seed_documents.end(), seed.documents.begin(),
                                seed.documents.end());
  }
  const std::vector<std::string> public_documents(neutral.begin(), neutral.end());
  ASSIGN_OR_RETURN(Catalog catalog, InitCatalog(std::move(model), pool, public_documents, basis));
  catalog.version = version;
  return catalog;
}

}  // namespace

uint64_t SeedVersion(std::span<const PersonaSeed> seeds, std::span<const std::string> neutral,
                     const PersonaCatalogOptions& options) {
  Hasher hasher;
  Update(neutral, &hasher);
  for (const PersonaSeed& seed : seeds) {
    hasher.UpdateSized(AsBytes(seed.id));
    Update(seed.documents, &hasher);
  }
  const TrainOptions& train = options.training.train;
  hasher.UpdateSized(AsBytes(
      absl::StrFormat("rank %d steps %d epochs %g rate %g batch %d axes %d neutral background",
                      options.basis.rank, train.max_steps, train.epochs, train.learning_rate,
                      train.batch_size, options.basis.axes.axes.size())));
  const Hash256 hash = hasher.Finish();
  uint64_t version = 0;
  for (size_t i = 0; i < sizeof version; ++i) version = version << 8 | hash[i];
  return (version >> 1) | kMadeHere;  // GGUF readers here take 63 bits
}

absl::StatusOr<Catalog> MakePersonaCatalog(std::shared_ptr<const Model> model, ThreadPool* pool,
                                           std::span<const PersonaSeed> seeds,
                                           std::span<const std::string> neutral,
                                           const PersonaCatalogOptions& options,
                                           const SelectionProgress& progress) {
  const SystemClock clock;
  const auto total = static_cast<int64_t>(seeds.size());
  if (progress && !progress("shared factors", 0, 1)) return absl::CancelledError("stopped");
  ASSIGN_OR_RETURN(Catalog catalog, OpenOrInit(model, pool, seeds, neutral, options));
  for (size_t i = catalog.personas.size(); i < seeds.size(); ++i) {
    if (progress && !progress("personas", static_cast<int64_t>(i), total)) {
      return absl::CancelledError(absl::StrFormat("stopped after %d of %d personas", i, total));
    }
    RETURN_IF_ERROR(TrainPersona(model, pool, clock, &catalog, seeds[i].id, seeds[i].documents,
                                 options.training)
                        .status());
    if (!options.path.empty()) RETURN_IF_ERROR(WriteCatalog(catalog, options.path));
  }
  return catalog;
}

Catalog PoolOfSize(const Catalog& catalog, std::span<const PersonaSeed> seeds, int size,
                   uint64_t random_seed) {
  constexpr double kMoved = 0.1;
  Catalog pool = catalog;
  const auto want = static_cast<size_t>(size);
  if (pool.personas.size() > want) pool.personas.resize(want);
  Rng rng(random_seed);
  for (size_t i = pool.personas.size(); i < want; ++i) {
    const size_t from = i % seeds.size();
    const size_t copy = i / seeds.size();
    Persona persona = catalog.personas[from];
    persona.id = absl::StrCat(persona.id.substr(0, 28), "-", copy + 1);
    double squares = 0;
    for (float value : persona.cores) squares += static_cast<double>(value) * value;
    const double spread =
        kMoved *
        std::sqrt(squares / std::max<double>(1, static_cast<double>(persona.cores.size())));
    for (float& value : persona.cores) value += static_cast<float>(spread * rng.Normal());
    std::vector<std::string> half;
    for (size_t d = copy % 2; d < seeds[from].documents.size(); d += 2) {
      half.push_back(seeds[from].documents[d]);
    }
    persona.card.statistics = CountStyle(Views(half));
    pool.personas.push_back(std::move(persona));
  }
  return pool;
}

}  // namespace lorikeet
