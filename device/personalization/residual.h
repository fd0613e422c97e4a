// The residual: what the owner's text adds to a persona, trained on top of it.
//
// A few kilobytes of text are learned by heart within some passes, so the rate is high, the number
// of passes is fixed, and what was learned is then taken at the strength that predicts text best
// that was not trained on (a line search on the selection part, all strengths through one pass over
// the base's weights).  The same search first sets the persona's own strength.  Some text that the
// base writes by itself is mixed in, so that the rest of the base's knowledge stays (rehearsal.h).
//
// Measured while this was made, held-out loss of 7 people of irc_nicks, shakespeare_roles and
// commit_messages (1.3 to 1.7 thousand tokens each; finch-7m Q8_0; nats a token, means): base 5.82,
// persona 4.65; trained with rate 1e-3, 5 passes and an early stop 4.40 (one of the 7 worse off
// than with the persona alone), the same scaled 4.36, rate 3e-3 scaled 4.33 (nobody worse off).
//
// Not here: choosing the persona (selector.h), judging the result (judge.h).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_RESIDUAL_H_
#define LORIKEET_DEVICE_PERSONALIZATION_RESIDUAL_H_

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/private_documents.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

TrainOptions DefaultPersonalTraining();

struct ResidualOptions {
  TrainOptions train = DefaultPersonalTraining();
  int rank = 8;
  float alpha = 16;
  std::vector<Module> modules;  // empty = all
  // Strengths of the persona that are tried.  The least one is taken that is not worse than the
  // best by more than `persona_slack` nats a token: a strong persona forgets more (about as the
  // square of its strength).
  std::vector<float> persona_scales = {1.0f, 0.75f, 0.5f};
  double persona_slack = 0.01;
  // Strengths of the trained residual that are tried; the best is taken.
  std::vector<float> residual_scales = {0.2f, 0.35f, 0.5f, 0.65f, 0.8f, 1.0f, 1.25f};
  double rehearsal_share = 0.15;  // tokens of the base's own text for each token trained on
};

// The loss of the selection part with a persona or residual of one strength, nats a token.
struct ScalePoint {
  float scale = 1;
  double loss = 0;
};

struct Residual {
  std::vector<PersonaWeight> weights;  // of the persona, scaled; empty: none
  std::optional<Adapter> persona;      // those of the catalog, blended
  TrainResult training;                // its adapter is the residual, scaled
  float persona_scale = 1;
  float residual_scale = 1;
  std::vector<ScalePoint> persona_search, residual_search;
};

// Trains on split.train with the persona of `weights` (empty: none) frozen; split.selection gives
// the curve and the strengths.  Errors as Train.
absl::StatusOr<Residual> TrainResidual(std::shared_ptr<const Model> model, ThreadPool* pool,
                                       const Clock& clock, const Catalog& catalog,
                                       std::span<const PersonaWeight> weights,
                                       const TextSplit& split, const ResidualOptions& options,
                                       const ProgressCallback& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_RESIDUAL_H_
