// The text that experiments with people are made of: users of a samples.jsonl, and blends of a
// persona's text and neutral text.
//
// Whatever is drawn here is public text in the role of private text.  No document serves two roles:
// what a persona learned from, what an owner shows, what judges and what is neutral are disjoint
// (DropRepeats, then draws without replacement).
#ifndef LORIKEET_SIMULATIONS_PEOPLE_TEXTS_H_
#define LORIKEET_SIMULATIONS_PEOPLE_TEXTS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "device/vault/private_text.h"
#include "simulations/selection/selection_texts.h"

namespace lorikeet {

// A user of a samples.jsonl, texts in file order.
struct UserText {
  std::string user;
  std::vector<std::string> train;
  std::vector<std::string> test;  // of the same work, where the set knows works
};
// Users in order of first appearance.  Errors as ReadUserSamples.
absl::StatusOr<std::vector<UserText>> ReadUsers(const std::string& path);

// Drops owners' and neutral owners' documents that are word for word among the seeds, the neutral
// seed, or earlier documents of any owner.
void DropRepeats(SelectionTexts* texts);

struct BlendSpec {
  double similarity = 0.9;  // share of documents that are the persona's
  int examples = 20;
  int held_out = 30;
  uint64_t seed = 1;
};
struct Blend {
  std::vector<std::string> examples;  // every prefix has about the share, too
  std::vector<std::string> held_out;
};
// Draws without replacement.  INVALID_ARGUMENT: fewer documents than needed.
absl::StatusOr<Blend> DrawBlend(std::span<const std::string> persona,
                                std::span<const std::string> neutral, const BlendSpec& spec);

// About `max_bytes` of `texts`, taken evenly from all of them, in order.
std::vector<std::string> TakeEvenly(std::span<const std::string> texts, size_t max_bytes);

std::vector<PrivateText> AsPrivate(std::span<const std::string> texts);
size_t TotalBytes(std::span<const std::string> texts);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_TEXTS_H_
