// What a warm start saves, net: trials of an owner whose text is partly one
// persona's style.
//
// A trial draws N examples and a large held-out set of one blend.  Scratch is
// the production training (residual.h) on the bare base; the warm start is
// Select and the same training on what was chosen.  Both are trained for
// several budgets of steps, each a whole training of that length with its own
// schedule and line search, and what comes out is measured on the held-out set,
// which is this experiment's instrument and costs neither side anything.  Each
// side is then charged up to the point that counts (warm_start_analysis.h).
//
// Measured as XPerT (arXiv 2504.13938) reports, but with selection included.
#ifndef LORIKEET_SIMULATIONS_PEOPLE_WARM_START_H_
#define LORIKEET_SIMULATIONS_PEOPLE_WARM_START_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "device/personalization/personalizer.h"
#include "simulations/people/lab.h"
#include "simulations/people/texts.h"

namespace lorikeet {

struct WarmStartOptions {
  std::vector<double> similarities = {0.3, 0.5, 0.7, 0.8, 0.9};
  int trials = 8;  // of each similarity; personas take turns
  int examples = 20;
  int held_out = 30;
  // Shares of the recipe's steps that are tried; ascending, the last is 1.
  std::vector<double> budgets = {0.125, 0.25, 0.5, 1.0};
  bool examples_needed = true;
  // XPerT's protocol: personas learn from blends, the owner's text is pure.
  // Else the owner's text is blended and personas are pure.
  bool blend_personas = false;
  CatalogRecipe catalog;           // with blend_personas its path is not used
  PersonalizeOptions personalize;  // but for `existing` and `judge`
  uint64_t seed = 1;
};
// What a training of so many steps gives.
struct CurvePoint {
  int step = 0;
  int64_t tokens = 0;  // trained on
  double loss = 0;     // held out, nats a token
  double cpu = 0;      // processor seconds of the training whole: searches,
                       // evaluations, steps
};

struct TrainingCurve {
  // Step 0 first: the bare base, or the persona in the strength that was chosen
  // for it, whose `cpu` is what choosing the strength costs.
  std::vector<CurvePoint> points;
  double train_cpu_per_token = 0;  // of steps alone, the median over all of them
};

struct WarmStartTrial {
  double similarity = 0;
  int persona = 0;  // index in the texts
  std::string persona_id;
  std::string chosen;  // "base", "blend" or a persona
  double selection_cpu = 0;
  int64_t selection_tokens = 0;
  TrainingCurve scratch, warm;
  // The fewest examples of those tried with which the warm start reaches the
  // best loss of scratch with all; 0: not with all either; -1: not measured.
  int examples_needed = -1;
};

// The point of the lowest loss, the first of equals.  REQUIRES: points.
const CurvePoint& BestPoint(const std::vector<CurvePoint>& points);
// The first point at or below `loss`; null if there is none.
const CurvePoint* FirstReaching(const std::vector<CurvePoint>& points, double loss);

// The smallest of `ladder` (ascending) for which `reaches` holds, if it holds
// from some rung on; 0 if for none.  Asks O(log) times.
absl::StatusOr<int> SmallestRung(const std::vector<int>& ladder,
                                 const std::function<absl::StatusOr<bool>(int)>& reaches);

// `texts` without repeats (DropRepeats).  In order of similarity, then trial.
// INVALID_ARGUMENT: too little text for the blends; CANCELLED if progress says
// so.  Losses and choices are deterministic, processor time is not.
absl::StatusOr<std::vector<WarmStartTrial>> RunWarmStart(const Lab& lab,
                                                         const SelectionTexts& texts,
                                                         const WarmStartOptions& options,
                                                         const LabProgress& progress);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_WARM_START_H_
