#include "device/personalization/drift.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/style_card.h"
#include "common/base/random.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {
namespace {

// Documents taken evenly until about `most_bytes` are there.
std::vector<PrivateText> Bounded(std::span<const PrivateText> from, size_t most_bytes) {
  size_t bytes = 0;
  for (const PrivateText& document : from) bytes += document.size_bytes();
  const double keep =
      bytes <= most_bytes ? 1 : static_cast<double>(most_bytes) / static_cast<double>(bytes);
  std::vector<PrivateText> kept;
  double credit = 1 - keep / 2;
  for (const PrivateText& document : from) {
    credit += keep;
    if (credit < 1) continue;
    credit -= 1;
    kept.push_back(document);
  }
  return kept;
}

// The largest distance between two parts of `all` that were dealt at random, the second as many
// documents as the new text has.
double LargestByChance(std::vector<PrivateText> all, size_t fresh_count,
                       const StyleBackground& background, const DriftOptions& options) {
  Rng random(options.seed);
  double largest = 0;
  for (int deal = 0; deal < options.deals; ++deal) {
    for (size_t i = all.size() - 1; i > 0; --i) {
      std::swap(all[i], all[random.Below(i + 1)]);
    }
    const std::span<const PrivateText> dealt(all);
    largest = std::max(largest, StyleDistance(CountStyle(dealt.subspan(fresh_count)),
                                              CountStyle(dealt.first(fresh_count)), background));
  }
  return largest;
}

void FindClosest(const Catalog& catalog, const StyleStatistics& style, Drift* drift) {
  for (const Persona& candidate : catalog.personas) {
    const double distance = StyleDistance(style, candidate.card.statistics, catalog.background);
    if (drift->closest.empty() || distance < drift->closest_distance) {
      drift->closest = candidate.id;
      drift->closest_distance = distance;
    }
    if (candidate.id == drift->persona) drift->persona_distance = distance;
  }
}

std::string Words(const Drift& drift) {
  if (!drift.noticed) {
    return absl::StrFormat(
        "Your new text sounds like the old (style distance %.2f; parts of the same text differ by "
        "up to %.2f).",
        drift.distance, drift.chance);
  }
  std::string words = absl::StrFormat(
      "Your new text sounds different from what the adapter learned (style distance %.2f; parts of "
      "the same text differ by at most %.2f)",
      drift.distance, drift.chance);
  if (!drift.closest.empty() && drift.closest != drift.persona) {
    absl::StrAppendFormat(&words, ": it is now closest to %s, while the adapter stands on %s",
                          drift.closest, drift.persona);
  }
  return absl::StrCat(words, ". personalize --reselect chooses a persona anew.");
}

}  // namespace

Drift NoticeDrift(const Catalog& catalog, std::string_view persona,
                  std::span<const PrivateText> known, std::span<const PrivateText> fresh,
                  const DriftOptions& options) {
  Drift drift;
  drift.persona = persona;
  std::vector<PrivateText> all = Bounded(fresh, options.most_bytes);
  const size_t fresh_count = all.size();
  const std::vector<PrivateText> old = Bounded(known, options.most_bytes);
  const StyleStatistics new_style = CountStyle(std::span<const PrivateText>(all));
  const StyleStatistics old_style = CountStyle(std::span<const PrivateText>(old));
  // Fewer documents than this cannot be dealt in enough ways.
  constexpr size_t kFewDocuments = 4;
  if (fresh_count < kFewDocuments || old.size() < kFewDocuments ||
      new_style.word_count < options.least_words || old_style.word_count < options.least_words) {
    drift.words = absl::StrFormat(
        "Too little text to say whether your style changed: expected at least %d entries and %d "
        "words, there are %d entries and %d words of new text, %d and %d of old.",
        kFewDocuments, options.least_words, fresh_count, new_style.word_count, old.size(),
        old_style.word_count);
    return drift;
  }
  drift.measured = true;
  drift.distance = StyleDistance(old_style, new_style, catalog.background);
  all.insert(all.end(), old.begin(), old.end());
  drift.chance = LargestByChance(std::move(all), fresh_count, catalog.background, options);
  drift.noticed = drift.distance > drift.chance && drift.distance >= options.least_distance;
  FindClosest(catalog, new_style, &drift);
  drift.words = Words(drift);
  return drift;
}

}  // namespace lorikeet
