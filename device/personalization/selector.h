// Which persona fits the owner's text: cheapest evidence first, the bare base always a candidate,
// and the reason in words.
//
// (a) style distance of the owner's text to every card (milliseconds); (b) distance of the
// explanation axes; (c) held-out loss of the closest few, of the base and of the blend of the best
// two, on documents nothing was trained on, inside a token budget, with candidates dropped as soon
// as they have clearly lost.  The idea of choosing on the device from explained differences: XPerT
// (arXiv 2504.13938).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_SELECTOR_H_
#define LORIKEET_DEVICE_PERSONALIZATION_SELECTOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {

struct SelectOptions {
  int candidate_count = 3;     // personas whose loss is measured
  int64_t token_budget = 500;  // of held-out text a candidate
  bool blend = true;           // try the sum of halves of the best two
  // A persona whose style is this near must only not lose to the base; any other must win by
  // `margin_errors` standard errors and by `min_gain` nats a token: either kind of evidence is
  // strong, or both are needed.
  double near_style_distance = 0.18;
  double margin_errors = 2.0;
  double min_gain = 0.02;
  // A style further away than this (StyleDistance; 0.35 is typical of two different styles) is no
  // fit however the loss looks: a persona may help a stranger a little by being modern, and still
  // be somebody else's voice.
  double max_style_distance = 0.28;
};

// One line of the ranking.  Distances are absent for "base" and a blend, loss where it was not
// measured.
struct RankedCandidate {
  std::string id;    // persona, "base" or "blend"
  double score = 0;  // gain over the base in nats a token where measured, else minus style distance
  std::optional<double> style_distance;
  std::optional<double> explanation_distance;
  std::optional<double> held_out_loss;  // nats a token
};

struct Selection {
  std::vector<RankedCandidate>
      ranked;                          // measured ones first, by loss; the others by style distance
  std::string chosen;                  // persona id, "blend" or "base"
  std::vector<PersonaWeight> weights;  // cores to add; empty for "base"
  std::string reason;                  // a sentence with evidence
  // Chance, by paired held-out losses alone, that the choice beats each other measured candidate.
  double confidence = 0;
  StyleCard card;  // the owner's
  int64_t tokens_scored = 0;
  double seconds = 0;
  double cpu_seconds = 0;
};

// FAILED_PRECONDITION: catalog of another base.  INVALID_ARGUMENT: `held_out` is empty.
absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const StyleStatistics& style,
                                 std::span<const Sequence> held_out, const SelectOptions& options);

// The same on a split: selection documents first, then training documents until the budget is met.
absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const TextSplit& split,
                                 const SelectOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_SELECTOR_H_
