#include "simulations/selection/experiment.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "simulations/selection/loss_cache.h"
#include "simulations/selection/trials.h"

namespace lorikeet {
namespace {

constexpr int64_t kMeasuredTogether = 16;  // documents

// The texts, tokenized.
struct Documents {
  std::vector<std::vector<OwnerDocument>> own;  // [persona]
  std::vector<OwnerDocument> neutral;
  std::vector<std::vector<OwnerDocument>> strangers;
};

class Experiment {
 public:
  Experiment(std::shared_ptr<const Model> model, ThreadPool* pool, const ExperimentOptions& options,
             const SelectionProgress& progress)
      : model_(std::move(model)), pool_(pool), options_(options), progress_(progress) {}

  absl::StatusOr<ExperimentResult> Run() {
    const absl::Time start = absl::Now();
    ASSIGN_OR_RETURN(texts_, ReadSelectionTexts(options_.texts));
    Prepare();
    ASSIGN_OR_RETURN(const auto meter, LossMeter::Create(model_, pool_));
    LossCache cache(meter.get());
    const auto groups = SimilarityGroups();
    for (const std::vector<double>& similarities : groups) {
      ASSIGN_OR_RETURN(const Bench bench, MakeBench(similarities));
      const Choosers choosers(model_, pool_, &bench, &cache, options_.select);
      const bool last = &similarities == &groups.back();
      if (options_.exhaustive) RETURN_IF_ERROR(MeasureAll(choosers, last));
      RETURN_IF_ERROR(TryOwners(bench, choosers));
      if (!last) continue;
      RETURN_IF_ERROR(TryStrangers(choosers));
      if (options_.cost) {
        ASSIGN_OR_RETURN(result_.cost, MeasureCost(model_, pool_, bench, seeds_, documents_.own,
                                                   documents_.neutral, options_.select,
                                                   options_.costs, options_.seed, progress_));
      }
    }
    result_.losses_measured = cache.measured();
    result_.losses_asked = cache.asked();
    result_.seconds = absl::ToDoubleSeconds(absl::Now() - start);
    return std::move(result_);
  }

 private:
  absl::Status Report(std::string_view stage, int64_t done, int64_t total) const {
    if (!progress_ || progress_(stage, done, total)) return absl::OkStatus();
    return absl::CancelledError("stopped before the end: no result");
  }

  int MostExamples() const { return *std::ranges::max_element(options_.examples); }

  void Prepare() {
    result_.texts = texts_.name;
    for (const PersonaText& persona : texts_.personas) {
      result_.personas.push_back(persona.id);
      documents_.own.push_back(PrepareDocuments(*model_, persona.held_out));
    }
    documents_.neutral = PrepareDocuments(*model_, texts_.neutral_owner);
    for (const StrangerText& stranger : texts_.strangers) {
      documents_.strangers.push_back(PrepareDocuments(*model_, stranger.documents));
    }
  }

  // One catalog serves all similarities, or each has its own; the most similar last.
  std::vector<std::vector<double>> SimilarityGroups() const {
    std::vector<double> sorted = options_.similarities;
    std::ranges::sort(sorted);
    if (options_.blend == BlendProtocol::kOwner) return {sorted};
    std::vector<std::vector<double>> groups;
    for (double similarity : sorted) groups.push_back({similarity});
    return groups;
  }

  absl::StatusOr<Bench> MakeBench(const std::vector<double>& similarities) {
    PersonaCatalogOptions catalog = options_.catalog;
    const bool blend = options_.blend == BlendProtocol::kPersona;
    if (blend && !catalog.path.empty()) {
      absl::StrAppendFormat(&catalog.path, ".%.0f", 100 * similarities.front());
    }
    seeds_.clear();
    std::vector<std::vector<std::string>> classes;
    for (const PersonaText& persona : texts_.personas) {
      std::vector<std::string> seed =
          blend ? BlendSeed(persona.seed, texts_.neutral_seed, similarities.front(),
                            absl::StrCat("seed of ", persona.id), options_.seed)
                : persona.seed;
      classes.push_back(seed);
      seeds_.push_back({.id = persona.id, .documents = std::move(seed)});
    }
    ASSIGN_OR_RETURN(Catalog made, MakePersonaCatalog(model_, pool_, seeds_, texts_.neutral_seed,
                                                      catalog, progress_));
    Bench bench(std::move(made), classes);
    bench.similarity = similarities;
    return bench;
  }

  absl::Status MeasureAll(const Choosers& choosers, bool with_strangers) const {
    std::vector<const OwnerDocument*> all;
    const auto add = [&](const std::vector<OwnerDocument>& documents) {
      for (const OwnerDocument& document : documents) all.push_back(&document);
    };
    for (const auto& documents : documents_.own) add(documents);
    add(documents_.neutral);
    for (const auto& documents : documents_.strangers) {
      if (with_strangers) add(documents);
    }
    Owner some;
    for (size_t i = 0; i < all.size(); ++i) {
      some.examples.push_back(all[i]);
      if (some.examples.size() < kMeasuredTogether && i + 1 < all.size()) continue;
      RETURN_IF_ERROR(Report("losses of every persona", static_cast<int64_t>(i),
                             static_cast<int64_t>(all.size())));
      RETURN_IF_ERROR(choosers.Measure(some.Sequences()));
      some.examples.clear();
    }
    return absl::OkStatus();
  }

  std::vector<Method> Methods() const {
    std::vector<Method> methods;
    for (Method method : kAllMethods) {
      if (options_.exhaustive || method != Method::kExhaustive) methods.push_back(method);
    }
    return methods;
  }

  absl::Status TryOwners(const Bench& bench, const Choosers& choosers) {
    const size_t first = result_.accuracy.size();
    const size_t personas = documents_.own.size();
    for (Method method : Methods()) {
      for (double similarity : bench.similarity) {
        for (int examples : options_.examples) {
          result_.accuracy.push_back({.method = method,
                                      .similarity = similarity,
                                      .examples = examples,
                                      .right = std::vector<Cluster>(personas),
                                      .base = std::vector<Cluster>(personas),
                                      .named = std::vector<Cluster>(personas)});
        }
      }
    }
    const std::span<AccuracyCell> cells(result_.accuracy.begin() + static_cast<ptrdiff_t>(first),
                                        result_.accuracy.end());
    const int64_t total = static_cast<int64_t>(personas) * options_.trials;
    for (size_t p = 0; p < personas; ++p) {
      for (int trial = 0; trial < options_.trials; ++trial) {
        RETURN_IF_ERROR(Report("trials", static_cast<int64_t>(p) * options_.trials + trial, total));
        const std::string label = absl::StrCat("trial ", result_.personas[p], " ", trial);
        const TrialDraw draw(label, options_.seed, MostExamples(), documents_.own[p].size(),
                             documents_.neutral.size());
        for (AccuracyCell& cell : cells) RETURN_IF_ERROR(TryOwner(choosers, draw, p, trial, &cell));
      }
    }
    return absl::OkStatus();
  }

  absl::Status TryOwner(const Choosers& choosers, const TrialDraw& draw, size_t persona, int trial,
                        AccuracyCell* cell) {
    const double own = options_.blend == BlendProtocol::kOwner ? cell->similarity : 1.0;
    const Owner owner = draw.Take(documents_.own[persona], documents_.neutral, own, cell->examples);
    const uint64_t random = options_.seed + 1009 * persona + static_cast<uint64_t>(trial);
    ASSIGN_OR_RETURN(const Choice choice, choosers.Choose(cell->method, owner, random));
    const bool right = choice.persona == static_cast<int>(persona);
    cell->right[persona].trials += 1;
    cell->right[persona].successes += right ? 1 : 0;
    cell->base[persona].trials += 1;
    cell->base[persona].successes += choice.persona < 0 ? 1 : 0;
    cell->named[persona].trials += 1;
    cell->named[persona].successes += choice.named == static_cast<int>(persona) ? 1 : 0;
    if (choice.confidence) {
      result_.confidence.push_back(
          {.persona = choice.persona >= 0, .confidence = *choice.confidence, .right = right});
    }
    return absl::OkStatus();
  }

  // The kinds in order, each with the indices of its strangers.
  std::vector<std::pair<std::string, std::vector<size_t>>> Kinds() const {
    std::vector<std::pair<std::string, std::vector<size_t>>> kinds;
    for (size_t i = 0; i < texts_.strangers.size(); ++i) {
      const std::string& kind = texts_.strangers[i].kind;
      auto found = std::ranges::find(kinds, kind, [](const auto& entry) { return entry.first; });
      if (found == kinds.end()) found = kinds.insert(kinds.end(), {kind, {}});
      found->second.push_back(i);
    }
    return kinds;
  }

  absl::Status TryStrangers(const Choosers& choosers) {
    std::vector<Method> methods = {Method::kOurs};
    if (options_.exhaustive) methods.push_back(Method::kExhaustive);
    for (const auto& [kind, members] : Kinds()) {
      const int trials = (options_.stranger_trials + static_cast<int>(members.size()) - 1) /
                         static_cast<int>(members.size());
      for (Method method : methods) {
        for (int examples : options_.examples) {
          StrangerCell cell{.method = method,
                            .kind = kind,
                            .examples = examples,
                            .persona = std::vector<Cluster>(members.size())};
          RETURN_IF_ERROR(TryStranger(choosers, members, trials, &cell));
          result_.strangers.push_back(std::move(cell));
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status TryStranger(const Choosers& choosers, const std::vector<size_t>& members, int trials,
                           StrangerCell* cell) {
    for (size_t m = 0; m < members.size(); ++m) {
      RETURN_IF_ERROR(Report(absl::StrCat("strangers: ", cell->kind), static_cast<int64_t>(m),
                             static_cast<int64_t>(members.size())));
      const std::vector<OwnerDocument>& own = documents_.strangers[members[m]];
      for (int trial = 0; trial < trials; ++trial) {
        const std::string label = absl::StrCat("stranger ", members[m], " ", trial);
        const TrialDraw draw(label, options_.seed, MostExamples(), own.size(), own.size());
        ASSIGN_OR_RETURN(
            const Choice choice,
            choosers.Choose(cell->method, draw.Take(own, own, 1.0, cell->examples), 0));
        cell->persona[m].trials += 1;
        cell->persona[m].successes += choice.persona >= 0 ? 1 : 0;
        if (choice.confidence) {
          result_.confidence.push_back({.persona = choice.persona >= 0,
                                        .confidence = *choice.confidence,
                                        .right = choice.persona < 0});
        }
      }
    }
    return absl::OkStatus();
  }

  std::shared_ptr<const Model> model_;
  ThreadPool* pool_;
  const ExperimentOptions& options_;
  const SelectionProgress& progress_;
  SelectionTexts texts_;
  Documents documents_;
  std::vector<PersonaSeed> seeds_;
  ExperimentResult result_;
};

}  // namespace

Cluster Pooled(const std::vector<Cluster>& clusters) {
  Cluster sum;
  for (const Cluster& cluster : clusters) {
    sum.successes += cluster.successes;
    sum.trials += cluster.trials;
  }
  return sum;
}

const AccuracyCell* FindCell(const ExperimentResult& result, Method method, double similarity,
                             int examples) {
  for (const AccuracyCell& cell : result.accuracy) {
    if (cell.method == method && std::abs(cell.similarity - similarity) < 1e-9 &&
        cell.examples == examples) {
      return &cell;
    }
  }
  return nullptr;
}

absl::StatusOr<ExperimentResult> RunExperiment(std::shared_ptr<const Model> model, ThreadPool* pool,
                                               const ExperimentOptions& options,
                                               const SelectionProgress& progress) {
  if (options.examples.empty() || options.similarities.empty()) {
    return absl::InvalidArgumentError(
        "expected at least one number of examples and one similarity, found none");
  }
  return Experiment(std::move(model), pool, options, progress).Run();
}

}  // namespace lorikeet
