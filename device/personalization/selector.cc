#include "device/personalization/selector.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr int kNone = -1;  // index of the bare base
constexpr size_t kMinDocuments = 4;
constexpr double kClearlyLost = 3.0;  // standard errors behind the leader

// Wall and CPU time since construction.
class Stopwatch {
 public:
  double Seconds() const { return absl::ToDoubleSeconds(absl::Now() - start_); }
  double CpuSeconds() const {
    return static_cast<double>(std::clock() - cpu_start_) / static_cast<double>(CLOCKS_PER_SEC);
  }

 private:
  absl::Time start_ = absl::Now();
  std::clock_t cpu_start_ = std::clock();
};

struct StyleRank {
  int index = 0;
  double style = 0;
};

std::vector<StyleRank> RankByStyle(const Catalog& catalog, const StyleCard& owner) {
  std::vector<StyleRank> ranks;
  for (size_t i = 0; i < catalog.personas.size(); ++i) {
    const StyleCard& card = catalog.personas[i].card;
    ranks.push_back(
        {.index = static_cast<int>(i),
         .style = StyleDistance(owner.statistics, card.statistics, catalog.background)});
  }
  std::ranges::stable_sort(ranks, {}, &StyleRank::style);
  return ranks;
}

// One adapter under test; index kNone is the base.
struct Candidate {
  int index = kNone;
  std::vector<PersonaWeight> weights;
  std::vector<DocumentLoss> losses;
  bool live = true;
};

class Race {
 public:
  Race(const Catalog& catalog, LossSource* meter, std::span<const Sequence> documents)
      : catalog_(catalog), meter_(meter), documents_(documents) {}

  // Measures in three laps; after each, personas that clearly lost to the leader stop.  The base
  // runs to the end.
  absl::Status Run(std::vector<Candidate>* candidates) {
    const size_t laps = documents_.size() >= 3 * kMinDocuments ? 3 : 1;
    for (size_t lap = 0; lap < laps; ++lap) {
      const size_t begin = documents_.size() * lap / laps;
      const size_t end = documents_.size() * (lap + 1) / laps;
      std::vector<Candidate*> live;
      for (Candidate& candidate : *candidates) {
        if (candidate.live) live.push_back(&candidate);
      }
      RETURN_IF_ERROR(Measure(begin, end, live));
      DropLosers(candidates);
    }
    return absl::OkStatus();
  }

  // All of them through one pass over the base's weights.
  absl::Status Measure(size_t begin, size_t end, std::span<Candidate* const> candidates) {
    std::vector<Adapter> adapters(candidates.size());
    std::vector<LossCandidate> sides(candidates.size());
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i]->weights.empty()) continue;
      adapters[i] = BlendAdapter(catalog_, candidates[i]->weights);
      sides[i].push_back({.adapter = &adapters[i]});
    }
    const auto part = documents_.subspan(begin, end - begin);
    ASSIGN_OR_RETURN(const auto losses, meter_->Measure(sides, part));
    for (size_t i = 0; i < candidates.size(); ++i) {
      candidates[i]->losses.insert(candidates[i]->losses.end(), losses[i].begin(), losses[i].end());
      tokens_ += PredictedTokens(part);
    }
    return absl::OkStatus();
  }

  int64_t tokens() const { return tokens_; }

 private:
  static void DropLosers(std::vector<Candidate>* candidates) {
    const Candidate* leader = &candidates->front();
    for (const Candidate& candidate : *candidates) {
      if (candidate.live && MeanLoss(candidate.losses) < MeanLoss(leader->losses))
        leader = &candidate;
    }
    for (Candidate& candidate : *candidates) {
      if (!candidate.live || &candidate == leader || candidate.index == kNone) continue;
      const PairedGain behind = ComparePaired(candidate.losses, leader->losses);
      if (behind.gain > kClearlyLost * behind.standard_error) candidate.live = false;
    }
  }

  const Catalog& catalog_;
  LossSource* meter_;
  std::span<const Sequence> documents_;
  int64_t tokens_ = 0;
};

// `a` and `b` on the documents both have seen.
PairedGain Compare(const Candidate& a, const Candidate& b) {
  const size_t both = std::min(a.losses.size(), b.losses.size());
  return ComparePaired(std::span(a.losses).first(both), std::span(b.losses).first(both));
}

double NormalCdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

double Confidence(const PairedGain& gain) {
  if (!std::isfinite(gain.standard_error)) return 0.5;
  return NormalCdf(gain.gain / std::max(gain.standard_error, 1e-6));
}

// Evenly spread documents until the budget is met.
std::vector<Sequence> WithinBudget(std::span<const Sequence> documents, int64_t budget) {
  const int64_t total = PredictedTokens(documents);
  const double keep = std::min(1.0, static_cast<double>(budget) / static_cast<double>(total));
  std::vector<Sequence> kept;
  double credit = 1 - keep / 2;
  for (const Sequence& document : documents) {
    credit += keep;
    if (credit < 1) continue;
    credit -= 1;
    kept.push_back(document);
  }
  return kept;
}

// The whole evidence, from which ranking, choice and reason are made.
struct Evidence {
  const Catalog& catalog;
  const SelectOptions& options;
  std::vector<StyleRank> styles;      // by distance
  std::vector<Candidate> candidates;  // [0] = base, then personas by style, then perhaps the blend
  size_t best = 0;                    // chosen candidate
  std::string why_base;  // set when the base was chosen although a persona was measured

  const Candidate& base() const { return candidates.front(); }
  bool is_blend(const Candidate& c) const { return c.weights.size() > 1; }
  std::string IdOf(const Candidate& c) const {
    if (c.index == kNone) return "base";
    return is_blend(c) ? "blend" : catalog.personas[static_cast<size_t>(c.index)].id;
  }
  const StyleRank& StyleOf(int index) const {
    return *std::ranges::find(styles, index, &StyleRank::index);
  }
};

// Personas that ran to the end, by loss.
std::vector<size_t> Finishers(const Evidence& evidence) {
  std::vector<size_t> order;
  for (size_t i = 1; i < evidence.candidates.size(); ++i) {
    if (evidence.candidates[i].live) order.push_back(i);
  }
  std::ranges::stable_sort(order, {},
                           [&](size_t i) { return MeanLoss(evidence.candidates[i].losses); });
  return order;
}

absl::Status TryBlend(Race* race, size_t documents, Evidence* evidence) {
  const std::vector<size_t> order = Finishers(*evidence);
  if (order.size() < 2) return absl::OkStatus();
  const Candidate& second = evidence->candidates[order[1]];
  if (Compare(evidence->base(), second).gain <= 0) return absl::OkStatus();
  Candidate blend;
  blend.index = evidence->candidates[order[0]].index;
  blend.weights = {{.index = blend.index, .weight = 0.5f}, {.index = second.index, .weight = 0.5f}};
  Candidate* const only[] = {&blend};
  RETURN_IF_ERROR(race->Measure(0, documents, only));
  evidence->candidates.push_back(std::move(blend));
  return absl::OkStatus();
}

void Choose(Evidence* evidence) {
  const SelectOptions& options = evidence->options;
  const std::vector<size_t> order = Finishers(*evidence);
  evidence->best = 0;
  if (order.empty()) {
    evidence->why_base = "the base predicts you clearly better";
    return;
  }
  size_t best = order[0];
  // A blend must be clearly better than a single persona, which is simpler to explain and to
  // update.
  if (evidence->is_blend(evidence->candidates[best]) && order.size() > 1) {
    const PairedGain gain = Compare(evidence->candidates[order[1]], evidence->candidates[best]);
    if (gain.gain < options.min_gain || gain.gain < gain.standard_error) best = order[1];
  }
  const Candidate& winner = evidence->candidates[best];
  const PairedGain gain = Compare(evidence->base(), winner);
  const double style = evidence->StyleOf(winner.index).style;
  const bool near = style <= options.near_style_distance;
  if (gain.gain <= 0 || (!near && gain.gain < options.min_gain)) {
    evidence->why_base =
        absl::StrFormat("it does not lower the held-out loss (%.2f against %.2f of the base)",
                        MeanLoss(winner.losses), MeanLoss(evidence->base().losses));
  } else if (!near && gain.gain < options.margin_errors * gain.standard_error) {
    evidence->why_base =
        absl::StrFormat("its gain of %.2f nats a token is within the noise (+-%.2f)", gain.gain,
                        gain.standard_error);
  } else if (style > options.max_style_distance) {
    evidence->why_base = absl::StrFormat("its style is too far from yours (more than %.2f)",
                                         options.max_style_distance);
  } else {
    evidence->best = best;
  }
}

std::vector<RankedCandidate> Rank(const Evidence& evidence) {
  std::vector<RankedCandidate> ranked;
  for (const Candidate& candidate : evidence.candidates) {
    RankedCandidate line;
    line.id = evidence.IdOf(candidate);
    line.held_out_loss = MeanLoss(candidate.losses);
    line.score = Compare(evidence.base(), candidate).gain;
    if (candidate.weights.size() == 1) {
      line.style_distance = evidence.StyleOf(candidate.index).style;
    }
    ranked.push_back(std::move(line));
  }
  std::ranges::stable_sort(ranked, std::greater<>(), &RankedCandidate::score);
  for (const StyleRank& style : evidence.styles) {
    const bool measured = std::ranges::any_of(evidence.candidates, [&](const Candidate& c) {
      return c.weights.size() == 1 && c.index == style.index;
    });
    if (measured) continue;
    ranked.push_back({.id = evidence.catalog.personas[static_cast<size_t>(style.index)].id,
                      .score = -style.style,
                      .style_distance = style.style,
                      .explanation_distance = std::nullopt,
                      .held_out_loss = std::nullopt});
  }
  return ranked;
}

// "formal (style distance 0.08, held-out loss 4.21)".
std::string Describe(const Evidence& evidence, const Candidate& candidate) {
  if (candidate.index == kNone)
    return absl::StrFormat("the base (%.2f)", MeanLoss(candidate.losses));
  return absl::StrFormat("%s (style distance %.2f, held-out loss %.2f)",
                         evidence.catalog.personas[static_cast<size_t>(candidate.index)].id,
                         evidence.StyleOf(candidate.index).style, MeanLoss(candidate.losses));
}

std::string Reason(const Evidence& evidence, const StyleCard& owner) {
  std::string reason = absl::StrCat("You write ", owner.sentence, "; ");
  if (evidence.catalog.personas.empty()) {
    return absl::StrCat(reason, "the catalog has no personas, so you start from the base.");
  }
  const Candidate& chosen = evidence.candidates[evidence.best];
  const Persona& closest =
      evidence.catalog.personas[static_cast<size_t>(evidence.styles.front().index)];
  if (chosen.index == kNone) {
    const Candidate* best = nullptr;
    for (const Candidate& candidate : evidence.candidates) {
      if (candidate.index == kNone || evidence.is_blend(candidate)) continue;
      if (best == nullptr || Compare(*best, candidate).gain > 0) best = &candidate;
    }
    return absl::StrCat(reason, "no persona fits: the best was ", Describe(evidence, *best),
                        ", but ", evidence.why_base, ", so you start from the base.");
  }
  if (evidence.is_blend(chosen)) {
    absl::StrAppendFormat(
        &reason,
        "halves of %s and %s together predict you best (held-out loss %.2f against %.2f of the "
        "base)",
        evidence.catalog.personas[static_cast<size_t>(chosen.weights[0].index)].id,
        evidence.catalog.personas[static_cast<size_t>(chosen.weights[1].index)].id,
        MeanLoss(chosen.losses), MeanLoss(evidence.base().losses));
  } else {
    const Persona& persona = evidence.catalog.personas[static_cast<size_t>(chosen.index)];
    const std::string traits =
        SharedTraits(owner.statistics, persona.card.statistics, evidence.catalog.background, 3);
    absl::StrAppendFormat(
        &reason, "%s is %s (style distance %.2f%s, held-out loss %.2f against %.2f of the base)",
        persona.id, &persona == &closest ? "closest" : "the best predictor",
        evidence.StyleOf(chosen.index).style, traits.empty() ? "" : absl::StrCat(", both ", traits),
        MeanLoss(chosen.losses), MeanLoss(evidence.base().losses));
  }
  const Candidate* next = nullptr;
  for (const Candidate& candidate : evidence.candidates) {
    if (&candidate == &chosen || candidate.index == kNone || evidence.is_blend(candidate)) continue;
    if (next == nullptr || Compare(*next, candidate).gain > 0) next = &candidate;
  }
  return absl::StrCat(
      reason, next == nullptr ? "" : absl::StrCat("; ", Describe(evidence, *next), " was next"),
      ".");
}

// Against the strongest rival: for a persona also the base.
double ConfidenceOf(const Evidence& evidence) {
  double confidence = 1;
  const Candidate& chosen = evidence.candidates[evidence.best];
  for (size_t i = 0; i < evidence.candidates.size(); ++i) {
    if (i == evidence.best) continue;
    confidence = std::min(confidence, Confidence(Compare(evidence.candidates[i], chosen)));
  }
  return confidence;
}

}  // namespace

absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const StyleStatistics& style,
                                 std::span<const Sequence> held_out, const SelectOptions& options) {
  const Stopwatch watch;
  if (catalog.base_fingerprint != model->fingerprint()) {
    return absl::FailedPreconditionError(absl::StrCat("the catalog was made for base ",
                                                      catalog.base_fingerprint, ", this model is ",
                                                      model->fingerprint()));
  }
  if (PredictedTokens(held_out) == 0) {
    return absl::InvalidArgumentError("select: expected at least two tokens of held-out text");
  }
  Selection selection;
  selection.card = MakeStyleCard(style, catalog.background);
  Evidence evidence{.catalog = catalog,
                    .options = options,
                    .styles = RankByStyle(catalog, selection.card),
                    .candidates = {Candidate{}},
                    .why_base = {}};
  const std::vector<Sequence> documents = WithinBudget(held_out, options.token_budget);
  for (const StyleRank& rank : evidence.styles) {
    if (static_cast<int>(evidence.candidates.size()) > options.candidate_count) break;
    evidence.candidates.push_back(
        {.index = rank.index, .weights = {{.index = rank.index}}, .losses = {}});
  }
  ASSIGN_OR_RETURN(const auto meter, LossMeter::Create(model, pool));
  Race race(catalog, meter.get(), documents);
  RETURN_IF_ERROR(race.Run(&evidence.candidates));
  if (options.blend) RETURN_IF_ERROR(TryBlend(&race, documents.size(), &evidence));

  Choose(&evidence);
  selection.ranked = Rank(evidence);
  const Candidate& chosen = evidence.candidates[evidence.best];
  selection.chosen = evidence.IdOf(chosen);
  selection.weights = chosen.weights;
  selection.reason = Reason(evidence, selection.card);
  selection.confidence = ConfidenceOf(evidence);
  selection.tokens_scored = race.tokens();
  selection.seconds = watch.Seconds();
  selection.cpu_seconds = watch.CpuSeconds();
  return selection;
}

absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const TextSplit& split,
                                 const SelectOptions& options) {
  // No persona was trained on this text, so all of it is held out; only the judge's part stays
  // untouched.
  std::vector<Sequence> documents = split.selection;
  documents.insert(documents.end(), split.train.begin(), split.train.end());
  return Select(std::move(model), pool, catalog, split.style, documents, options);
}

}  // namespace lorikeet
