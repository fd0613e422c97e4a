#include "device/personalization/selection_evidence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lorikeet {
namespace {

// Evidence of features that overlap and of text about few subjects is too sure of itself; measured
// by the reliability of confidence (simulations/selection).
constexpr double kStyleTrust = 1.0;
constexpr double kLossTrust = 0.5;
// Evidence of an explanation as far away as two personas typically are.
constexpr double kExplanationTrust = 1.5;
// The best of many personas has some evidence on neutral text too, the less, the more documents
// there are: of 28, one in twenty had 0.3 on 5 documents, one in a hundred -4 on 20.
double NobodyEvidence(size_t documents) {
  return std::max(-2.0, 1.0 - 0.1 * static_cast<double>(documents));
}

// Median distance of the explanations of personas; 0 for fewer than two.
double TypicalDistance(const Catalog& catalog) {
  std::vector<double> distances;
  for (size_t i = 0; i < catalog.personas.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      distances.push_back(ExplanationDistance({.weights = catalog.personas[i].card.explanation},
                                              {.weights = catalog.personas[j].card.explanation}));
    }
  }
  if (distances.empty()) return 0;
  const auto middle = distances.begin() + static_cast<std::ptrdiff_t>(distances.size() / 2);
  std::ranges::nth_element(distances, middle);
  return *middle;
}

double TotalEvidence(const PersonaEvidence& persona) {
  return kStyleTrust * persona.style.log_evidence + persona.explanation + persona.loss;
}

// "formal (style distance 0.08)".
std::string Named(const SelectionEvidence& evidence, size_t persona) {
  return absl::StrFormat("%s (style distance %.2f)", evidence.IdOf(persona),
                         evidence.personas[persona].style_distance);
}

// "worse by 0.21 nats a token (5 %)" of the base beside a candidate.
std::string BaseBeside(const SelectionEvidence& evidence, const MeasuredCandidate& candidate) {
  const double gain = GainOf(evidence, candidate).gain;
  const double loss = MeanLoss(evidence.base().losses);
  return absl::StrFormat("%s by %.2f nats a token (%.0f %%)", gain >= 0 ? "worse" : "better",
                         std::abs(gain), loss > 0 ? 100 * std::abs(gain) / loss : 0);
}

std::string WhyBase(const SelectionEvidence& evidence) {
  if (evidence.catalog.personas.empty()) {
    return "the catalog has no personas, so you start from the plain model.";
  }
  const std::string nearest = Named(evidence, evidence.order.front());
  if (evidence.why_base.empty()) {
    return absl::StrCat("no persona fits: the nearest is ", nearest,
                        ", and your text does not read like its own, so you start from the plain "
                        "model.");
  }
  return absl::StrCat("no persona fits: the nearest is ", nearest, ", but ", evidence.why_base,
                      ", so you start from the plain model.");
}

std::string WhyPersona(const SelectionEvidence& evidence, const StyleCard& owner) {
  const MeasuredCandidate& chosen = evidence.measured[evidence.chosen];
  const auto first = static_cast<size_t>(chosen.weights.front().index);
  const PersonaEvidence& persona = evidence.personas[first];
  std::string words;
  if (chosen.is_blend()) {
    const auto second = static_cast<size_t>(chosen.weights[1].index);
    words = absl::StrFormat("you are between two personas: %s and %s", Named(evidence, first),
                            Named(evidence, second));
  } else {
    const std::string traits =
        SharedTraits(owner.statistics, evidence.catalog.personas[first].card.statistics,
                     evidence.catalog.background, 3);
    words = absl::StrFormat("closest is %s%s", Named(evidence, first),
                            traits.empty() ? "" : absl::StrCat(", both ", traits));
  }
  const double share = 100 * persona.style.share;
  absl::StrAppend(&words, share > 95 ? ", and all of your text reads like it"
                                     : absl::StrFormat(", and about %.0f %% of your text reads "
                                                       "like it",
                                                       share));
  for (size_t next : evidence.order) {
    if (std::ranges::any_of(chosen.weights, [&](const PersonaWeight& part) {
          return part.index == static_cast<int>(next);
        })) {
      continue;
    }
    absl::StrAppend(&words, "; ", Named(evidence, next), " was next");
    break;
  }
  return absl::StrCat(words, "; the plain model would have been ", BaseBeside(evidence, chosen),
                      ".");
}

}  // namespace

std::string SelectionEvidence::IdOf(const MeasuredCandidate& candidate) const {
  if (candidate.is_base()) return "base";
  return candidate.is_blend() ? "blend" : IdOf(static_cast<size_t>(candidate.weights[0].index));
}

double SelectionEvidence::ProbabilityOf(const MeasuredCandidate& candidate) const {
  if (candidate.is_base()) return nobody;
  double sum = 0;
  for (const PersonaWeight& part : candidate.weights) {
    sum += personas[static_cast<size_t>(part.index)].probability;
  }
  return sum;
}

SelectionEvidence GatherStyle(const Catalog& catalog, const StyleStatistics& owner,
                              std::span<const DocumentSketch> sketches) {
  SelectionEvidence evidence{.catalog = catalog,
                             .personas = {},
                             .order = {},
                             .measured = {MeasuredCandidate{}},
                             .why_base = {}};
  evidence.nobody_evidence = NobodyEvidence(sketches.size());
  std::vector<const StyleCard*> cards;
  for (const Persona& persona : catalog.personas) cards.push_back(&persona.card);
  const std::vector<StyleEvidence> styles = StyleMatcher(catalog.background, cards).Match(sketches);
  for (size_t k = 0; k < cards.size(); ++k) {
    PersonaEvidence& persona = evidence.personas.emplace_back();
    persona.style = styles[k];
    persona.style_distance = StyleDistance(owner, cards[k]->statistics, catalog.background);
  }
  return evidence;
}

void AddExplanation(const Explanation& owner, SelectionEvidence* evidence) {
  const double typical = TypicalDistance(evidence->catalog);
  double nearest = std::numeric_limits<double>::infinity();
  for (size_t k = 0; k < evidence->personas.size(); ++k) {
    const double distance =
        ExplanationDistance(owner, {.weights = evidence->catalog.personas[k].card.explanation});
    evidence->personas[k].explanation_distance = distance;
    nearest = std::min(nearest, distance);
  }
  if (typical <= 0) return;
  for (PersonaEvidence& persona : evidence->personas) {
    persona.explanation = -kExplanationTrust * (*persona.explanation_distance - nearest) / typical;
  }
}

void AddLosses(SelectionEvidence* evidence) {
  double most = -std::numeric_limits<double>::infinity(), least = -most;
  for (const MeasuredCandidate& candidate : evidence->measured) {
    if (candidate.weights.size() != 1) continue;
    std::vector<double> ratios;
    for (size_t i = 0; i < candidate.losses.size(); ++i) {
      ratios.push_back(kLossTrust * (evidence->base().losses[i].nats - candidate.losses[i].nats));
    }
    PersonaEvidence& persona = evidence->personas[static_cast<size_t>(candidate.weights[0].index)];
    persona.loss = MixtureEvidence(ratios);
    most = std::max(most, persona.loss);
    least = std::min(least, persona.loss);
  }
  if (!std::isfinite(most)) return;
  // Between personas only: text that is nobody's may still be easier for any of them than for the
  // base.  What was not measured is taken for the worst that was.
  std::vector<bool> known(evidence->personas.size(), false);
  for (const MeasuredCandidate& candidate : evidence->measured) {
    if (candidate.weights.size() == 1) {
      known[static_cast<size_t>(candidate.weights[0].index)] = true;
    }
  }
  for (size_t k = 0; k < known.size(); ++k) {
    PersonaEvidence& persona = evidence->personas[k];
    persona.loss = (known[k] ? persona.loss : least) - most;
  }
}

void Weigh(double min_fit, SelectionEvidence* evidence) {
  double most = evidence->nobody_evidence;
  for (const PersonaEvidence& persona : evidence->personas) {
    most = std::max(most, TotalEvidence(persona));
  }
  evidence->nobody = std::exp(evidence->nobody_evidence - most);
  double total = evidence->nobody;
  for (PersonaEvidence& persona : evidence->personas) {
    const bool own = persona.style.typicality >= min_fit;
    persona.probability = own ? std::exp(TotalEvidence(persona) - most) : 0;
    total += persona.probability;
  }
  evidence->nobody /= total;
  for (PersonaEvidence& persona : evidence->personas) persona.probability /= total;
  evidence->order.resize(evidence->personas.size());
  std::iota(evidence->order.begin(), evidence->order.end(), size_t{0});
  std::ranges::stable_sort(evidence->order, [&](size_t a, size_t b) {
    const PersonaEvidence &x = evidence->personas[a], &y = evidence->personas[b];
    if (x.probability != y.probability) return x.probability > y.probability;
    return TotalEvidence(x) > TotalEvidence(y);
  });
}

PairedGain GainOf(const SelectionEvidence& evidence, const MeasuredCandidate& candidate) {
  return ComparePaired(evidence.base().losses, candidate.losses);
}

std::string SelectionReason(const SelectionEvidence& evidence, const StyleCard& owner) {
  return absl::StrCat("You write ", owner.sentence, "; ",
                      evidence.measured[evidence.chosen].is_base() ? WhyBase(evidence)
                                                                   : WhyPersona(evidence, owner));
}

}  // namespace lorikeet
