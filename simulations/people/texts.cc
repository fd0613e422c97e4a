#include "simulations/people/texts.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "device/trainer/user_samples.h"

namespace lorikeet {
namespace {

void Shuffle(std::vector<std::string>* items, Rng* rng) {
  for (size_t i = items->size(); i > 1; --i) std::swap((*items)[i - 1], (*items)[rng->Below(i)]);
}

// `count` documents from the back of each list, the persona's spread evenly among the neutral ones.
std::vector<std::string> Interleave(std::vector<std::string>* persona,
                                    std::vector<std::string>* neutral, int count, double share,
                                    double phase) {
  std::vector<std::string> drawn;
  for (int i = 0; i < count; ++i) {
    const bool is_persona = std::floor((i + 1) * share + phase) > std::floor(i * share + phase);
    std::vector<std::string>* from = is_persona ? persona : neutral;
    drawn.push_back(std::move(from->back()));
    from->pop_back();
  }
  return drawn;
}

}  // namespace

absl::StatusOr<std::vector<UserText>> ReadUsers(const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<UserSamples> samples, ReadUserSamples(path));
  std::vector<UserText> users;
  for (UserSamples& user : samples) {
    users.push_back({.user = std::move(user.user),
                     .train = std::move(user.train),
                     .test = std::move(user.test)});
  }
  return users;
}

void DropRepeats(SelectionTexts* texts) {
  std::set<std::string_view> seen;
  for (const PersonaText& persona : texts->personas) {
    seen.insert(persona.seed.begin(), persona.seed.end());
  }
  seen.insert(texts->neutral_seed.begin(), texts->neutral_seed.end());
  std::set<std::string> kept;
  const auto drop = [&](std::vector<std::string>* documents) {
    std::erase_if(*documents, [&](const std::string& document) {
      return seen.contains(document) || !kept.insert(document).second;
    });
  };
  for (PersonaText& persona : texts->personas) drop(&persona.held_out);
  drop(&texts->neutral_owner);
}

std::vector<std::string> TakeEvenly(std::span<const std::string> texts, size_t max_bytes) {
  const double total = static_cast<double>(TotalBytes(texts));
  const double keep = std::min(1.0, static_cast<double>(max_bytes) / std::max(1.0, total));
  std::vector<std::string> taken;
  double passed = 0, bytes = 0;
  for (const std::string& text : texts) {
    passed += static_cast<double>(text.size());
    if (bytes + static_cast<double>(text.size()) / 2 > passed * keep) continue;
    bytes += static_cast<double>(text.size());
    taken.push_back(text);
  }
  return taken;
}

absl::StatusOr<Blend> DrawBlend(std::span<const std::string> persona,
                                std::span<const std::string> neutral, const BlendSpec& spec) {
  std::vector<std::string> own(persona.begin(), persona.end());
  std::vector<std::string> others(neutral.begin(), neutral.end());
  const int count = spec.examples + spec.held_out;
  // One more of each, for rounding by the phase.
  const auto own_needed = static_cast<size_t>(std::ceil(spec.similarity * count)) + 2;
  const auto others_needed = static_cast<size_t>(std::ceil((1 - spec.similarity) * count)) + 2;
  if (own.size() < own_needed || others.size() < others_needed) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a blend of %d examples and %d held out at %.0f %%: expected %d documents of the "
        "persona and %d neutral ones, got %d and %d",
        spec.examples, spec.held_out, 100 * spec.similarity, own_needed, others_needed, own.size(),
        others.size()));
  }
  Rng rng(spec.seed);
  Shuffle(&own, &rng);
  Shuffle(&others, &rng);
  Blend blend;
  const double phase = rng.Uniform() * 0.999;  // floor(share * count + phase) - floor(phase)
  blend.held_out = Interleave(&own, &others, spec.held_out, spec.similarity, 0.5);
  blend.examples = Interleave(&own, &others, spec.examples, spec.similarity, phase);
  return blend;
}

std::vector<PrivateText> AsPrivate(std::span<const std::string> texts) {
  std::vector<PrivateText> documents;
  for (const std::string& text : texts) documents.emplace_back(text);
  return documents;
}

size_t TotalBytes(std::span<const std::string> texts) {
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  return bytes;
}

}  // namespace lorikeet
