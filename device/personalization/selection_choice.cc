#include "device/personalization/selection_choice.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace lorikeet {
namespace {

// What is believed of a persona's gain before it is measured: the gain on its own text, for the
// share that reads like it; this much of it may be missing (standard deviation), and a little more.
constexpr double kGainDoubt = 0.5, kLeastDoubt = 0.03;
// A few documents look more alike than they are: standard error of one document's loss a token.
constexpr double kDocumentSpread = 0.3;
// What overrules a style that is more likely nobody's.
constexpr double kUndecided = 0.03, kNearDistance = 0.15, kLargeGain = 0.1, kSureErrors = 2;
// nats a token that a persona must be able to gain.
constexpr double kLeastGain = 0.005;

size_t PersonaOf(const MeasuredCandidate& candidate) {
  return static_cast<size_t>(candidate.weights.front().index);
}

bool Holds(const MeasuredCandidate& candidate, size_t persona) {
  return std::ranges::any_of(candidate.weights, [&](const PersonaWeight& part) {
    return part.index == static_cast<int>(persona);
  });
}

void LeadWith(size_t persona, MeasuredCandidate* candidate) {
  std::ranges::stable_partition(candidate->weights, [&](const PersonaWeight& part) {
    return part.index == static_cast<int>(persona);
  });
}

// nats a token, of a candidate that is `index` or holds it: what its card promises, weighed with
// what was measured.
double ExpectedGain(const SelectionEvidence& evidence, size_t index,
                    const MeasuredCandidate& candidate) {
  const PersonaEvidence& persona = evidence.personas[index];
  const double promised =
      persona.probability * persona.style.share * evidence.catalog.personas[index].card.gain;
  const double doubt = kGainDoubt * promised + kLeastDoubt;
  const PairedGain measured = GainOf(evidence, candidate);
  const auto documents = static_cast<double>(candidate.losses.size());
  if (documents < 1) return promised;
  const double spread =
      std::max(kDocumentSpread / std::sqrt(documents),
               std::isfinite(measured.standard_error) ? measured.standard_error : 0);
  const double trust = doubt * doubt / (doubt * doubt + spread * spread);
  return promised + trust * (measured.gain - promised);
}

// The measured persona that is likeliest; 0: none was worth a look.
size_t Likeliest(const SelectionEvidence& evidence) {
  size_t choice = 0;
  for (size_t i = 1; i < evidence.measured.size(); ++i) {
    const MeasuredCandidate& single = evidence.measured[i];
    if (single.is_blend()) continue;
    if (choice == 0 ||
        evidence.ProbabilityOf(single) > evidence.ProbabilityOf(evidence.measured[choice])) {
      choice = i;
    }
  }
  return choice;
}

}  // namespace

bool Convincing(const SelectionEvidence& evidence, const MeasuredCandidate& single) {
  const PersonaEvidence& persona = evidence.personas[PersonaOf(single)];
  const PairedGain gain = GainOf(evidence, single);
  return persona.probability >= kUndecided && persona.style_distance <= kNearDistance &&
         gain.gain >= kLargeGain && gain.gain >= kSureErrors * gain.standard_error;
}

void Choose(SelectionEvidence* evidence) {
  size_t choice = Likeliest(*evidence);
  if (choice == 0) return;
  const size_t best = PersonaOf(evidence->measured[choice]);
  if (evidence->personas[best].probability <= evidence->nobody &&
      !Convincing(*evidence, evidence->measured[choice])) {
    return;
  }
  for (size_t i = 0; i < evidence->measured.size(); ++i) {
    const MeasuredCandidate& blend = evidence->measured[i];
    if (!blend.is_blend() || !Holds(blend, best)) continue;
    const PairedGain over = ComparePaired(evidence->measured[choice].losses, blend.losses);
    if (over.gain > over.standard_error) choice = i;
  }
  LeadWith(best, &evidence->measured[choice]);
  if (ExpectedGain(*evidence, best, evidence->measured[choice]) > kLeastGain) {
    evidence->chosen = choice;
  } else {
    evidence->why_base = absl::StrFormat(
        "it predicts you worse (held-out loss %.2f against %.2f of the plain model)",
        MeanLoss(evidence->measured[choice].losses), MeanLoss(evidence->base().losses));
  }
}

}  // namespace lorikeet
