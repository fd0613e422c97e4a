// What selection knows about every candidate while it climbs its ladder: private to the selector.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_SELECTION_EVIDENCE_H_
#define LORIKEET_DEVICE_PERSONALIZATION_SELECTION_EVIDENCE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/adapter/catalog.h"
#include "common/adapter/explanation.h"
#include "common/adapter/style_match.h"
#include "device/personalization/loss_meter.h"

namespace lorikeet {

// One persona.  Evidence is in natural logarithms of a likelihood over that of "nobody": text of no
// persona at all.
struct PersonaEvidence {
  StyleEvidence style;
  double style_distance = 0;
  std::optional<double> explanation_distance;
  double explanation = 0;  // evidence, relative to the nearest persona
  double loss = 0;         // evidence of the documents that were measured
  double probability = 0;  // of all personas and nobody
};

// Something whose held-out loss is measured: adapters on the base.  No weights: the base.
struct MeasuredCandidate {
  std::vector<PersonaWeight> weights;
  std::vector<DocumentLoss> losses;

  bool is_base() const { return weights.empty(); }
  bool is_blend() const { return weights.size() > 1; }
};

struct SelectionEvidence {
  const Catalog& catalog;
  std::vector<PersonaEvidence> personas;    // as in the catalog
  double nobody = 1;                        // probability
  double nobody_evidence = 0;               // that a persona must have more than
  std::vector<size_t> order;                // of personas, likeliest first
  std::vector<MeasuredCandidate> measured;  // [0] = the base
  size_t chosen = 0;                        // of `measured`
  std::string why_base;                     // set when a persona was likely and the base was chosen

  const MeasuredCandidate& base() const { return measured.front(); }
  const std::string& IdOf(size_t persona) const { return catalog.personas[persona].id; }
  std::string IdOf(const MeasuredCandidate& candidate) const;
  // Of all parts.
  double ProbabilityOf(const MeasuredCandidate& candidate) const;
};

// Style evidence and distances of every persona.
SelectionEvidence GatherStyle(const Catalog& catalog, const StyleStatistics& owner,
                              std::span<const DocumentSketch> sketches);
// Adds what the owner's explanation says.
void AddExplanation(const Explanation& owner, SelectionEvidence* evidence);
// Adds what the held-out losses say about measured personas.
void AddLosses(SelectionEvidence* evidence);
// Probabilities and order from all evidence so far; a persona that is not typical of its own text
// (less than `min_fit`) is nobody's.
void Weigh(double min_fit, SelectionEvidence* evidence);

// Gain of a measured candidate over the base, nats a token.
PairedGain GainOf(const SelectionEvidence& evidence, const MeasuredCandidate& candidate);

// "You write ...; about 70 % of it reads like X ...": with evidence, for people.
std::string SelectionReason(const SelectionEvidence& evidence, const StyleCard& owner);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_SELECTION_EVIDENCE_H_
