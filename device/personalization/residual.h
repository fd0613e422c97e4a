// The residual: what the owner's text adds to a persona, trained on top of it.
//
// A few kilobytes of text are learned by heart within some passes, so the rate is high, the number
// of passes is fixed, and what was learned is then taken at a strength that predicts text well that
// was not trained on (a line search on the selection part, all strengths through one pass over the
// base's weights).  The same search first sets the persona's own strength.
//
// Two things speak for little strength.  The selection part lies next to what was trained on and
// shares its subjects more than later text will; with a gain of 2 g s - s^2 at strength s, half the
// best strength keeps three quarters of the gain and still helps on text that shares a quarter as
// much.  And the rest of the base's knowledge fades, about as s^2.  So the least strength is taken
// that keeps a share of the best gain, among those that keep a budget: text that the base writes by
// itself (rehearsal.h) is partly mixed into training, and partly held out, where the loss may rise
// by `forgetting_budget` and no more.  Real prose suffers less than the base's own: with rises of
// 2.5, 4.4, 5.5 and 7.8 % there, 1.0, 2.8, 3.8 and 7.0 % on neutral English (finch-7m Q8_0, people
// of irc_nicks).
//
// Measured while this was made, held-out loss of 7 people of irc_nicks, shakespeare_roles and
// commit_messages (1.3 to 1.7 thousand tokens each; finch-7m Q8_0; nats a token, means): base 5.82,
// persona 4.65; trained with rate 1e-3, 5 passes and an early stop 4.40 (one of the 7 worse off
// than with the persona alone), the same scaled 4.36, rate 3e-3 scaled 4.33 (nobody worse off).
// What the shares cost and save, by loss on later text: 12 novelists who train on one book and are
// measured on another gain 0.034 nats at the best strength (4 of 12 gain at all), 0.046 at a share
// of 0.8 (9 of 12); 12 people of irc_nicks 0.37 and 0.32.  With the budget, neutral English loses
// 1.6 % on irc_nicks and 2.4 % on commit_messages (at most 3.1 %), where it lost 7.4 and 7.6 %; the
// people gain 1.79 and 2.14 nats instead of 1.87 and 2.42.
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
  // Strengths that are tried beside 0, ascending; none: full strength, and no budget is kept.
  std::vector<float> persona_scales = {0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.85f, 1.0f};
  std::vector<float> residual_scales = {0.1f, 0.2f, 0.35f, 0.5f, 0.65f, 0.8f, 1.0f};
  // The least strength is taken that keeps this share of the best's gain.
  double persona_gain_share = 0.95;
  double residual_gain_share = 0.8;
  // By how much the loss on the base's own text may rise, relative, and which share of that the
  // persona may use.
  double forgetting_budget = 0.04;
  double persona_budget_share = 0.7;
  int64_t own_tokens = 1000;     // of the base's own text, held out to measure that
  double rehearsal_share = 0.3;  // tokens of the base's own text for each token trained on
};

// With a persona or residual of one strength: the loss of the selection part, nats a token, and
// by how much that of the base's own text is above the bare base's, relative.
struct ScalePoint {
  float scale = 0;
  double loss = 0;
  double forgetting = 0;
};

struct Residual {
  std::vector<PersonaWeight> weights;  // of the persona, scaled; empty: none
  std::optional<Adapter> persona;      // those of the catalog, blended; none at strength 0
  TrainResult training;                // its adapter is the residual, scaled
  float persona_scale = 1;
  float residual_scale = 1;
  std::vector<ScalePoint> persona_search, residual_search;  // the first is strength 0
  // As measured, at the strengths that were chosen: of the persona alone, and of both.
  double persona_forgetting = 0, forgetting = 0;
};

// The first of `points` (ascending, the first of strength 0) that keeps `share` of the best gain
// over the first among those whose forgetting is within `budget`; the first where none gains.
// REQUIRES: not empty.
ScalePoint ChooseScale(std::span<const ScalePoint> points, double share, double budget);

// Trains on split.train with the persona of `weights` (empty: none) frozen; split.selection gives
// the curve and the strengths.  Errors as Train.
absl::StatusOr<Residual> TrainResidual(std::shared_ptr<const Model> model, ThreadPool* pool,
                                       const Clock& clock, const Catalog& catalog,
                                       std::span<const PersonaWeight> weights,
                                       const TextSplit& split, const ResidualOptions& options,
                                       const ProgressCallback& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_RESIDUAL_H_
