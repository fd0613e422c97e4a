// The ways to choose a persona that are compared.
#ifndef LORIKEET_SIMULATIONS_SELECTION_CHOOSERS_H_
#define LORIKEET_SIMULATIONS_SELECTION_CHOOSERS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/selector.h"
#include "simulations/selection/trials.h"
#include "simulations/selection/word_classifier.h"

namespace lorikeet {

enum class Method { kOurs, kClassifier, kExhaustive, kRandom, kBase };
inline constexpr Method kAllMethods[] = {Method::kOurs, Method::kClassifier, Method::kExhaustive,
                                         Method::kRandom, Method::kBase};
// "lorikeet", "words", "exhaustive", "random", "base".
std::string_view MethodName(Method method);

struct Choice {
  int persona = -1;                  // index into the catalog; -1: the bare base
  int named = -1;                    // the likeliest persona, chosen or not; -1: none is ranked
  std::optional<double> confidence;  // where the method has one
};

// The personas to choose from, and what the baselines know of them.
struct Bench {
  Catalog catalog;
  WordClassifier classifier;       // trained on the same seed text
  std::vector<Adapter> adapters;   // one a persona
  std::vector<double> similarity;  // of the owners that are tried on it

  Bench(Catalog made, std::span<const std::vector<std::string>> seeds);
};

class Choosers {
 public:
  // Borrows bench and losses.
  Choosers(std::shared_ptr<const Model> model, ThreadPool* pool, const Bench* bench,
           LossSource* losses, SelectOptions select)
      : model_(std::move(model)), pool_(pool), bench_(bench), losses_(losses), select_(select) {}

  // `draw_seed` decides what kRandom takes.  A blend counts by its heaviest part.
  absl::StatusOr<Choice> Choose(Method method, const Owner& owner, uint64_t draw_seed) const;
  // Measures every persona and the base on documents, so that later choices find the losses.
  absl::Status Measure(std::span<const Sequence> documents) const;

 private:
  absl::StatusOr<Choice> ChooseOurs(const Owner& owner) const;
  absl::StatusOr<Choice> ChooseExhaustively(const Owner& owner) const;
  std::vector<LossCandidate> AllCandidates() const;  // the base first

  std::shared_ptr<const Model> model_;
  ThreadPool* pool_;
  const Bench* bench_;
  LossSource* losses_;
  SelectOptions select_;
};

// The index of the persona that a selection chose, its heaviest part for a blend; -1: the base.
int PersonaOf(const Selection& selection);
// The index of the persona with the highest score, where the base was chosen too; -1: none.
int LikeliestPersona(const Selection& selection, const Catalog& catalog);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_CHOOSERS_H_
