#include "device/personalization/selector.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "device/personalization/explainer.h"
#include "device/personalization/selection_choice.h"
#include "device/personalization/selection_evidence.h"

namespace lorikeet {
namespace {

constexpr int64_t kLeastTokens = 96;     // a candidate
constexpr int64_t kDocumentTokens = 16;  // of the beginning of a document
// A part of a blend that is less likely than this is left out.
constexpr double kLeastPart = 0.05;

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

// Beginnings of documents, evenly spread over all: as many as give each kDocumentTokens.
std::vector<Sequence> Beginnings(std::span<const Sequence> documents, int64_t budget) {
  const auto wanted = static_cast<size_t>(std::max<int64_t>(1, budget / kDocumentTokens));
  const size_t count = std::min(wanted, documents.size());
  std::vector<Sequence> beginnings;
  for (size_t i = 0; i < count; ++i) {
    const Sequence& document = documents[(2 * i + 1) * documents.size() / (2 * count)];
    if (document.tokens.size() < 2) continue;
    const auto rest = static_cast<int64_t>(count - i);
    const auto most = static_cast<size_t>(std::max<int64_t>(2, budget / rest + 1));
    Sequence beginning;
    beginning.tokens.assign(document.tokens.begin(),
                            document.tokens.begin() + static_cast<std::ptrdiff_t>(
                                                          std::min(most, document.tokens.size())));
    budget -= static_cast<int64_t>(beginning.tokens.size()) - 1;
    beginnings.push_back(std::move(beginning));
  }
  return beginnings;
}

// The ladder.  One use.
class Ladder {
 public:
  Ladder(std::shared_ptr<const Model> model, ThreadPool* pool, const OwnerEvidence& owner,
         const SelectOptions& options, SelectionEvidence* evidence, Selection* selection)
      : model_(std::move(model)),
        pool_(pool),
        owner_(owner),
        options_(options),
        evidence_(*evidence),
        selection_(*selection) {}

  absl::Status Climb(LossSource* losses) {
    selection_.stages.push_back("style");
    Weigh(options_.min_fit, &evidence_);
    if (!Sure() && !evidence_.catalog.axes.empty()) RETURN_IF_ERROR(Explain());
    RETURN_IF_ERROR(MeasureLosses(losses));
    Choose(&evidence_);
    return absl::OkStatus();
  }

 private:
  // Either a persona is, or none is worth a look.
  bool Sure() const {
    if (evidence_.order.empty()) return true;
    const double top = evidence_.personas[evidence_.order.front()].probability;
    return std::max(top, evidence_.nobody) >= options_.sure;
  }

  absl::Status Explain() {
    selection_.stages.push_back("explanation");
    ASSIGN_OR_RETURN(const auto explainer,
                     Explainer::Create(model_, pool_, evidence_.catalog.axes));
    const int64_t tokens =
        std::min<int64_t>(kExplainTokens, std::max<int64_t>(kLeastTokens, Budget() / 3));
    ASSIGN_OR_RETURN(const Explanation explanation, explainer->Explain(owner_.held_out, tokens));
    selection_.card.explanation = explanation.weights;
    selection_.card.explanation_residual = explanation.residual;
    selection_.tokens_scored += std::min(tokens, PredictedTokens(owner_.held_out));
    AddExplanation(explanation, &evidence_);
    Weigh(options_.min_fit, &evidence_);
    return absl::OkStatus();
  }

  // Tokens of all candidates together.
  int64_t Budget() const {
    const int64_t most = options_.token_budget * (options_.candidate_count + 1);
    if (owner_.training_tokens <= 0) return most;
    const double share =
        options_.tokens_per_training_token * static_cast<double>(owner_.training_tokens);
    return std::min(most, static_cast<int64_t>(share) - selection_.tokens_scored);
  }

  // Personas that hold all but 1 - sure of the probability that any of them has.
  std::vector<size_t> Likely() const {
    std::vector<size_t> likely;
    double left = 1 - evidence_.nobody;
    for (size_t persona : evidence_.order) {
      const double probability = evidence_.personas[persona].probability;
      if (probability <= 0 || static_cast<int>(likely.size()) == options_.candidate_count) break;
      if (!likely.empty() && left <= (1 - options_.sure) * (1 - evidence_.nobody)) break;
      likely.push_back(persona);
      left -= probability;
    }
    return likely;
  }

  absl::Status MeasureLosses(LossSource* losses) {
    std::vector<size_t> likely = Likely();
    if (evidence_.nobody >= options_.sure) likely.clear();
    for (size_t persona : likely) {
      evidence_.measured.push_back(
          {.weights = {{.index = static_cast<int>(persona)}}, .losses = {}});
    }
    if (likely.empty()) return absl::OkStatus();
    AddMixtures(likely);
    selection_.stages.push_back("loss");
    std::unique_ptr<LossMeter> own;
    if (losses == nullptr) {
      ASSIGN_OR_RETURN(own, LossMeter::Create(model_, pool_));
      losses = own.get();
    }
    const auto count = static_cast<int64_t>(evidence_.measured.size());
    const int64_t each =
        std::clamp(Budget() / count, kLeastTokens, std::max(kLeastTokens, options_.token_budget));
    const std::vector<Sequence> documents = Beginnings(owner_.held_out, each);
    RETURN_IF_ERROR(Measure(losses, documents));
    AddLosses(&evidence_);
    Weigh(options_.min_fit, &evidence_);
    return absl::OkStatus();
  }

  // A blend of the best two where the second is no mere chance.
  void AddMixtures(std::span<const size_t> likely) {
    if (!options_.blend || likely.size() < 2) return;
    const double first = evidence_.personas[likely[0]].probability;
    const double second = evidence_.personas[likely[1]].probability;
    if (second < kLeastPart * first) return;
    evidence_.measured.push_back(
        {.weights = {{.index = static_cast<int>(likely[0]), .weight = 0.5f},
                     {.index = static_cast<int>(likely[1]), .weight = 0.5f}},
         .losses = {}});
  }

  absl::Status Measure(LossSource* losses, std::span<const Sequence> documents) {
    std::vector<Adapter> adapters(evidence_.measured.size());
    std::vector<LossCandidate> sides(evidence_.measured.size());
    for (size_t i = 0; i < sides.size(); ++i) {
      if (evidence_.measured[i].is_base()) continue;
      adapters[i] = BlendAdapter(evidence_.catalog, evidence_.measured[i].weights);
      sides[i].push_back({.adapter = &adapters[i]});
    }
    ASSIGN_OR_RETURN(auto measured, losses->Measure(sides, documents));
    for (size_t i = 0; i < sides.size(); ++i) {
      evidence_.measured[i].losses = std::move(measured[i]);
    }
    selection_.tokens_scored += PredictedTokens(documents) * static_cast<int64_t>(sides.size());
    return absl::OkStatus();
  }

  const std::shared_ptr<const Model> model_;
  ThreadPool* const pool_;
  const OwnerEvidence& owner_;
  const SelectOptions& options_;
  SelectionEvidence& evidence_;
  Selection& selection_;
};

std::vector<RankedCandidate> Rank(const SelectionEvidence& evidence) {
  std::vector<RankedCandidate> ranked;
  std::vector<bool> listed(evidence.personas.size(), false);
  for (const MeasuredCandidate& candidate : evidence.measured) {
    RankedCandidate line;
    line.id = evidence.IdOf(candidate);
    line.score = evidence.ProbabilityOf(candidate);
    if (!candidate.losses.empty()) line.held_out_loss = MeanLoss(candidate.losses);
    if (candidate.weights.size() == 1) {
      const auto index = static_cast<size_t>(candidate.weights[0].index);
      line.style_distance = evidence.personas[index].style_distance;
      line.explanation_distance = evidence.personas[index].explanation_distance;
      listed[index] = true;
    }
    ranked.push_back(std::move(line));
  }
  std::swap(ranked.front(), ranked[evidence.chosen]);
  for (size_t persona : evidence.order) {
    if (listed[persona]) continue;
    const PersonaEvidence& line = evidence.personas[persona];
    ranked.push_back({.id = evidence.IdOf(persona),
                      .score = line.probability,
                      .style_distance = line.style_distance,
                      .explanation_distance = line.explanation_distance,
                      .held_out_loss = std::nullopt});
  }
  std::stable_sort(ranked.begin() + 1, ranked.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  return ranked;
}

}  // namespace

absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const OwnerEvidence& owner,
                                 const SelectOptions& options, LossSource* losses) {
  const Stopwatch watch;
  if (catalog.base_fingerprint != model->fingerprint()) {
    return absl::FailedPreconditionError(absl::StrCat("the catalog was made for base ",
                                                      catalog.base_fingerprint, ", this model is ",
                                                      model->fingerprint()));
  }
  if (PredictedTokens(owner.held_out) == 0) {
    return absl::InvalidArgumentError("select: expected at least two tokens of held-out text");
  }
  Selection selection;
  selection.card = MakeStyleCard(owner.style, catalog.background);
  SelectionEvidence evidence = GatherStyle(catalog, owner.style, owner.sketches);
  RETURN_IF_ERROR(
      Ladder(std::move(model), pool, owner, options, &evidence, &selection).Climb(losses));

  const MeasuredCandidate& chosen = evidence.measured[evidence.chosen];
  selection.ranked = Rank(evidence);
  selection.chosen = evidence.IdOf(chosen);
  selection.weights = chosen.weights;
  selection.reason = SelectionReason(evidence, selection.card);
  // Where the model overruled the likeliest persona, the base is right for another reason.
  selection.confidence = evidence.why_base.empty()
                             ? evidence.ProbabilityOf(chosen)
                             : 1 - evidence.personas[evidence.order.front()].probability;
  selection.share =
      chosen.is_base()
          ? 1
          : evidence.personas[static_cast<size_t>(chosen.weights.front().index)].style.share;
  selection.seconds = watch.Seconds();
  selection.cpu_seconds = watch.CpuSeconds();
  return selection;
}

absl::StatusOr<Selection> Select(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const TextSplit& split,
                                 const SelectOptions& options, LossSource* losses) {
  // No persona was trained on this text, so all of it is held out; only the judge's part stays
  // untouched.
  std::vector<Sequence> documents = split.selection;
  documents.insert(documents.end(), split.train.begin(), split.train.end());
  return Select(std::move(model), pool, catalog,
                {.style = split.style,
                 .sketches = split.sketches,
                 .held_out = documents,
                 .training_tokens = PredictedTokens(split.train)},
                options, losses);
}

}  // namespace lorikeet
