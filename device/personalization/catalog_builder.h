// Making catalogs: the shared basis from public text, and personas from seed text.  Public text
// only; nothing here opens PrivateText.
//
// The basis spans what gradients on public text want to change (device/trainer/gradient_basis.h).
// Which text matters more than the method: with a 7M model and rank 8, held-out gains of the demo's
// personas "formal" and "mariner" are 0.10 and 0.11 nats a token with random factors, the same with
// factors from neutral prose alone, and 0.21 and 0.18 with factors from that prose and the seeds of
// all personas (measured with an earlier turn of B and exact training).  So name the seeds too.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_CATALOG_BUILDER_H_
#define LORIKEET_DEVICE_PERSONALIZATION_CATALOG_BUILDER_H_

#include <cstdint>
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
#include "device/personalization/axes_definition.h"
#include "device/trainer/gradient_basis.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

enum class BasisMethod { kGradient, kRandom };

struct BasisOptions {
  BasisMethod method = BasisMethod::kGradient;
  int rank = 8;
  float alpha = 16;
  std::vector<Module> modules;  // empty = all
  BasisText text;
  // What personas will be trained on: spans the basis with the public documents, and is no part of
  // the style background, which is to be neutral.
  std::vector<std::string> seed_documents;
  int window_tokens = 192;
  uint64_t seed = 1;
  AxesDefinition axes = BuiltInAxes();  // of explanations; empty: none
};

// A catalog without personas: basis, style background and explanation axes of public documents.
// INVALID_ARGUMENT: no text, rank too large for a matrix; as MakeAxes.
absl::StatusOr<Catalog> InitCatalog(std::shared_ptr<const Model> model, ThreadPool* pool,
                                    std::span<const std::string> public_documents,
                                    const BasisOptions& options);

struct PersonaOptions {
  TrainOptions train;  // .max_steps etc.; see DefaultPersonaTraining
  int window_tokens = 192;
  double eval_share = 0.1;  // of the documents, every k-th: to stop at the best step
  // Tokens of the base's own text for each token of the seeds (rehearsal.h): a persona is not to
  // make a person's model forget the rest.
  double rehearsal_share = 0.4;
};
TrainOptions DefaultPersonaTraining();

// Trains the cores of persona `id` from its present ones (0 when it is new) on seed documents, and
// makes its card: statistics and, where the catalog has axes, the explanation. INVALID_ARGUMENT:
// bad id, no text.  The catalog is unchanged on error.
absl::StatusOr<TrainResult> TrainPersona(std::shared_ptr<const Model> model, ThreadPool* pool,
                                         const Clock& clock, Catalog* catalog, std::string_view id,
                                         std::span<const std::string> seed_documents,
                                         const PersonaOptions& options,
                                         const ProgressCallback& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_CATALOG_BUILDER_H_
