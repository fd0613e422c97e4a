// Which persona fits the owner's text: cheapest evidence first, the bare base always a candidate,
// and the reason in words.
//
// A ladder that stops when it is sure:
// (a) style evidence of the owner's documents under every card (common/adapter/style_match.h):
//     milliseconds, whatever the number of personas;
// (b) distance of explanation vectors (explainer.h), where (a) left doubts and the catalog has
//     axes: one pass over 256 tokens;
// (c) held-out loss of the personas that are still likely (one to three), of the base and of a
//     blend, on the beginnings of documents that nothing was trained on, all candidates in one pass
//     over the base's weights.  Its tokens are a share of what training will cost.
// (a) to (c) are logarithms of likelihoods and add up.  The base is chosen where no persona is
// likely, or where the likeliest does not lower the loss.  The idea of choosing on the device from
// explained differences: XPerT (arXiv 2504.13938).
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
#include "common/adapter/style_match.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {

struct SelectOptions {
  int candidate_count = 3;     // personas at most whose loss is measured
  int64_t token_budget = 400;  // of held-out text a candidate, at most
  // Tokens of all candidates together may be so many to a token of training text: 0.3 is 2.5 % of
  // training for five epochs.  Never less than 96 a candidate.
  double tokens_per_training_token = 0.3;
  bool blend = true;   // try the sum of the best two
  double sure = 0.98;  // probability at which the ladder stops
  double min_fit =
      0.35;  // StyleEvidence::typicality under which a persona is somebody else's voice
};

// What of the owner's text speaks for a persona.  Borrows.
struct OwnerEvidence {
  const StyleStatistics& style;
  std::span<const DocumentSketch> sketches;
  std::span<const Sequence> held_out;
  int64_t training_tokens = 0;  // that training will see in an epoch; 0: not known
};

// One line of the ranking.
struct RankedCandidate {
  std::string id;    // persona, "base" or "blend"
  double score = 0;  // probability that this is who writes; of a blend the sum of its parts'
  std::optional<double> style_distance;        // of personas
  std::optional<double> explanation_distance;  // of personas, where it was computed
  std::optional<double> held_out_loss;         // nats a token, where measured
};

struct Selection {
  std::vector<RankedCandidate> ranked;  // the choice first, the others by score
  std::string chosen;                   // persona id, "blend" or "base"
  std::vector<PersonaWeight> weights;   // cores to add; empty for "base"
  std::string reason;                   // a sentence with evidence
  double confidence = 0;                // probability that the choice is right
  double share = 0;  // of the owner's documents that read like the choice; 1 for the base
  std::vector<std::string> stages;  // that ran: "style", "explanation", "loss"
  StyleCard card;                   // the owner's
  int64_t tokens_scored = 0;        // through the model, all candidates
  double seconds = 0;
  double cpu_seconds = 0;
};

// Null `losses`: a meter of its own.  FAILED_PRECONDITION: catalog of another base.
// INVALID_ARGUMENT: nothing to predict in `held_out`.
absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const OwnerEvidence& owner,
                                 const SelectOptions& options, LossSource* losses = nullptr);

// The same on a split: all that is not the judge's, selection documents before training documents.
absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const TextSplit& split,
                                 const SelectOptions& options, LossSource* losses = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_SELECTOR_H_
