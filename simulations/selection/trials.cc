#include "simulations/selection/trials.h"

#include <numeric>
#include <utility>

#include "common/base/random.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {
namespace {

// `count` indices below `size`: a random order, again and again.
std::vector<size_t> Deal(size_t count, size_t size, Rng* rng) {
  std::vector<size_t> dealt;
  std::vector<size_t> order(size);
  while (dealt.size() < count) {
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t i = size; i > 1; --i) std::swap(order[i - 1], order[rng->Below(i)]);
    for (size_t i = 0; i < size && dealt.size() < count; ++i) dealt.push_back(order[i]);
  }
  return dealt;
}

Rng SeededRng(std::string_view label, uint64_t seed) {
  SeededRandom random(label, seed);
  return Rng(random.Uint64());
}

}  // namespace

std::vector<OwnerDocument> PrepareDocuments(const Model& model,
                                            std::span<const std::string> documents,
                                            int window_tokens) {
  std::vector<OwnerDocument> prepared;
  for (const std::string& text : documents) {
    const PrivateText owned(text);
    prepared.push_back({.text = text,
                        .sequences = TokenizeDocuments(model, {&owned, 1}, window_tokens),
                        .sketch = SketchDocument(text)});
  }
  return prepared;
}

std::vector<std::string_view> Owner::Texts() const {
  std::vector<std::string_view> texts;
  for (const OwnerDocument* example : examples) texts.push_back(example->text);
  return texts;
}

std::vector<Sequence> Owner::Sequences() const {
  std::vector<Sequence> sequences;
  for (const OwnerDocument* example : examples) {
    sequences.insert(sequences.end(), example->sequences.begin(), example->sequences.end());
  }
  return sequences;
}

std::vector<DocumentSketch> Owner::Sketches() const {
  std::vector<DocumentSketch> sketches;
  for (const OwnerDocument* example : examples) sketches.push_back(example->sketch);
  return sketches;
}

TrialDraw::TrialDraw(std::string_view label, uint64_t seed, int examples, size_t own,
                     size_t neutral) {
  Rng rng = SeededRng(label, seed);
  const auto count = static_cast<size_t>(examples);
  const std::vector<size_t> owns = Deal(count, own, &rng);
  const std::vector<size_t> neutrals = Deal(count, neutral, &rng);
  for (size_t i = 0; i < count; ++i) {
    slots_.push_back({.chance = rng.Uniform(), .own = owns[i], .neutral = neutrals[i]});
  }
}

Owner TrialDraw::Take(std::span<const OwnerDocument> own, std::span<const OwnerDocument> neutral,
                      double similarity, int examples) const {
  Owner owner;
  for (const Slot& slot : std::span(slots_).first(static_cast<size_t>(examples))) {
    owner.examples.push_back(slot.chance < similarity ? &own[slot.own] : &neutral[slot.neutral]);
  }
  return owner;
}

std::vector<std::string> BlendSeed(std::span<const std::string> seed,
                                   std::span<const std::string> neutral, double similarity,
                                   std::string_view label, uint64_t random_seed) {
  Rng rng = SeededRng(label, random_seed);
  std::vector<std::string> blend;
  for (const std::string& document : seed) {
    const bool keep = rng.Uniform() < similarity;
    blend.push_back(keep ? document : neutral[rng.Below(neutral.size())]);
  }
  return blend;
}

}  // namespace lorikeet
