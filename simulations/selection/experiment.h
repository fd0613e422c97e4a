// The trials: every persona, every similarity, every number of examples, every method.
//
// What is right: the persona that the owner's text was drawn from.  Choosing the base is wrong
// there, and counted apart.  For strangers the base is right.
#ifndef LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_H_
#define LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/selector.h"
#include "simulations/selection/choosers.h"
#include "simulations/selection/cost.h"
#include "simulations/selection/intervals.h"
#include "simulations/selection/persona_catalog.h"
#include "simulations/selection/selection_texts.h"

namespace lorikeet {

enum class BlendProtocol {
  kOwner,  // personas are pure; each of the owner's examples is neutral with chance 1 - similarity
  kPersona,  // as XPerT: personas are trained on the blend, the owner's text is pure
};

struct ExperimentOptions {
  SelectionTextOptions texts;
  BlendProtocol blend = BlendProtocol::kOwner;
  std::vector<double> similarities = {0.3, 0.5, 0.7, 0.8, 0.9};
  std::vector<int> examples = {5, 10, 20, 50};
  int trials = 20;            // of each persona
  int stranger_trials = 300;  // of each kind
  uint64_t seed = 1;
  bool exhaustive = true;  // measure every persona on every document
  bool cost = true;
  SelectOptions select;
  PersonaCatalogOptions catalog;
  CostOptions costs;
};

// One method under one condition, persona by persona.
struct AccuracyCell {
  Method method = Method::kOurs;
  double similarity = 0;
  int examples = 0;
  std::vector<Cluster> right;  // [persona]
  std::vector<Cluster> base;   // [persona]: the bare base was chosen
  std::vector<Cluster> named;  // [persona]: the right persona was likelier than the others
};

struct StrangerCell {
  Method method = Method::kOurs;
  std::string kind;
  int examples = 0;
  std::vector<Cluster> persona;  // [stranger]: some persona was chosen
};

// One of our choices.
struct ConfidenceSample {
  bool persona = false;  // some persona was chosen, not the base
  double confidence = 0;
  bool right = false;  // for strangers the base is right
};

struct ExperimentResult {
  std::string texts;  // what was tried, in words
  std::vector<std::string> personas;
  std::vector<AccuracyCell> accuracy;
  std::vector<StrangerCell> strangers;
  std::vector<ConfidenceSample> confidence;
  std::vector<CostLine> cost;
  int64_t losses_measured = 0;  // pairs of candidate and document
  int64_t losses_asked = 0;
  double seconds = 0;
};

// The sum over clusters.
Cluster Pooled(const std::vector<Cluster>& clusters);
// Null if there is no such cell.
const AccuracyCell* FindCell(const ExperimentResult& result, Method method, double similarity,
                             int examples);

// CANCELLED when `progress` said stop; errors of files and models.
absl::StatusOr<ExperimentResult> RunExperiment(std::shared_ptr<const Model> model, ThreadPool* pool,
                                               const ExperimentOptions& options,
                                               const SelectionProgress& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_H_
