#include "simulations/selection/choosers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/random.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// What a method without doubts chose, -1 for the base.
Choice Certain(int persona) {
  return {.persona = persona, .named = persona, .confidence = std::nullopt};
}

}  // namespace

std::string_view MethodName(Method method) {
  switch (method) {
    case Method::kOurs:
      return "lorikeet";
    case Method::kClassifier:
      return "words";
    case Method::kExhaustive:
      return "exhaustive";
    case Method::kRandom:
      return "random";
    case Method::kBase:
      return "base";
  }
  return "";
}

int PersonaOf(const Selection& selection) {
  int persona = -1;
  float heaviest = 0;
  for (const PersonaWeight& part : selection.weights) {
    if (part.weight > heaviest) {
      heaviest = part.weight;
      persona = part.index;
    }
  }
  return persona;
}

int LikeliestPersona(const Selection& selection, const Catalog& catalog) {
  int likeliest = -1;
  double score = 0;
  for (const RankedCandidate& candidate : selection.ranked) {
    const int persona = catalog.FindPersona(candidate.id);
    if (persona >= 0 && (likeliest < 0 || candidate.score > score)) {
      likeliest = persona;
      score = candidate.score;
    }
  }
  return likeliest;
}

Bench::Bench(Catalog made, std::span<const std::vector<std::string>> seeds)
    : catalog(std::move(made)), classifier(WordClassifier::Train(seeds)) {
  for (size_t i = 0; i < catalog.personas.size(); ++i) {
    adapters.push_back(PersonaAdapter(catalog, static_cast<int>(i)));
  }
}

std::vector<LossCandidate> Choosers::AllCandidates() const {
  std::vector<LossCandidate> candidates(1);
  for (const Adapter& adapter : bench_->adapters) candidates.push_back({{.adapter = &adapter}});
  return candidates;
}

absl::Status Choosers::Measure(std::span<const Sequence> documents) const {
  return losses_->Measure(AllCandidates(), documents).status();
}

absl::StatusOr<Choice> Choosers::ChooseOurs(const Owner& owner) const {
  const StyleStatistics style = CountStyle(owner.Texts());
  const std::vector<DocumentSketch> sketches = owner.Sketches();
  const std::vector<Sequence> sequences = owner.Sequences();
  // What the default split leaves to train on.
  const SplitOptions split;
  const double train_share = 1 - split.judge_share - split.selection_share;
  const OwnerEvidence evidence{.style = style,
                               .sketches = sketches,
                               .held_out = sequences,
                               .training_tokens = std::llround(
                                   train_share * static_cast<double>(PredictedTokens(sequences)))};
  ASSIGN_OR_RETURN(const Selection selection,
                   Select(model_, pool_, bench_->catalog, evidence, select_, losses_));
  return Choice{.persona = PersonaOf(selection),
                .named = LikeliestPersona(selection, bench_->catalog),
                .confidence = selection.confidence};
}

absl::StatusOr<Choice> Choosers::ChooseExhaustively(const Owner& owner) const {
  ASSIGN_OR_RETURN(const auto losses, losses_->Measure(AllCandidates(), owner.Sequences()));
  size_t best = 0;
  for (size_t i = 1; i < losses.size(); ++i) {
    if (MeanLoss(losses[i]) < MeanLoss(losses[best])) best = i;
  }
  return Certain(static_cast<int>(best) - 1);
}

absl::StatusOr<Choice> Choosers::Choose(Method method, const Owner& owner,
                                        uint64_t draw_seed) const {
  switch (method) {
    case Method::kOurs:
      return ChooseOurs(owner);
    case Method::kClassifier:
      return Certain(bench_->classifier.Classify(owner.Texts()));
    case Method::kExhaustive:
      return ChooseExhaustively(owner);
    case Method::kRandom: {
      Rng rng(draw_seed);
      return Certain(static_cast<int>(rng.Below(bench_->adapters.size())));
    }
    case Method::kBase:
      break;
  }
  return Choice{};
}

}  // namespace lorikeet
