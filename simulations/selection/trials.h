// What an owner hands over in one trial: examples drawn from a persona's held-out text and from
// neutral text, the same draws for every similarity and number of examples, so that these are
// compared in pairs and their losses measured once.
#ifndef LORIKEET_SIMULATIONS_SELECTION_TRIALS_H_
#define LORIKEET_SIMULATIONS_SELECTION_TRIALS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/adapter/style_match.h"
#include "device/model/model.h"
#include "device/trainer/gradient.h"
#include "simulations/selection/selection_texts.h"

namespace lorikeet {

struct OwnerDocument {
  std::string text;
  std::vector<Sequence> sequences;  // as selection measures it
  DocumentSketch sketch;
};

std::vector<OwnerDocument> PrepareDocuments(const Model& model,
                                            std::span<const std::string> documents,
                                            int window_tokens = 192);

// Examples in the order in which they were written.  Borrows.
struct Owner {
  std::vector<const OwnerDocument*> examples;

  std::vector<std::string_view> Texts() const;
  std::vector<Sequence> Sequences() const;
  std::vector<DocumentSketch> Sketches() const;
};

// The random part of one trial.
class TrialDraw {
 public:
  // `own` and `neutral`: how many documents there are of each (> 0).  Documents repeat only where
  // there are fewer than `examples`.
  TrialDraw(std::string_view label, uint64_t seed, int examples, size_t own, size_t neutral);

  // The first `examples` of the draw; each is the owner's own with probability `similarity`.
  Owner Take(std::span<const OwnerDocument> own, std::span<const OwnerDocument> neutral,
             double similarity, int examples) const;

 private:
  struct Slot {
    double chance = 0;
    size_t own = 0;
    size_t neutral = 0;
  };
  std::vector<Slot> slots_;
};

// `seed`, but each document with probability 1 - similarity replaced by neutral text: what a
// persona is trained on where personas are blends.
std::vector<std::string> BlendSeed(std::span<const std::string> seed,
                                   std::span<const std::string> neutral, double similarity,
                                   std::string_view label, uint64_t random_seed);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_TRIALS_H_
