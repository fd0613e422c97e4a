#include "device/personalization/judge.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

int64_t CountDocuments(std::span<const DocumentLoss> losses) {
  return std::ranges::count_if(losses, [](const DocumentLoss& loss) { return loss.tokens > 0; });
}

int64_t CountTokens(std::span<const DocumentLoss> losses) {
  int64_t tokens = 0;
  for (const DocumentLoss& loss : losses) tokens += loss.tokens;
  return tokens;
}

// Differences of nats, a - b; of more than kMostUnits documents, summed over runs of about as many
// tokens each.
std::vector<double> Differences(std::span<const DocumentLoss> a, std::span<const DocumentLoss> b) {
  std::vector<double> differences;
  const bool join = CountDocuments(a) > static_cast<int64_t>(kMostUnits);
  const double run = static_cast<double>(CountTokens(a)) / static_cast<double>(kMostUnits);
  double sum = 0, seen = 0;
  bool open = false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].tokens == 0) continue;
    sum += a[i].nats - b[i].nats;
    seen += static_cast<double>(a[i].tokens);
    open = true;
    // The run ends where its share of all tokens is reached.
    if (join && seen < run * static_cast<double>(differences.size() + 1) - 0.5) continue;
    differences.push_back(std::exchange(sum, 0.0));
    open = false;
  }
  if (open) differences.push_back(sum);
  return differences;
}

// "0.4%", "less than 0.1%"
std::string Percent(double share) {
  if (share < 0.0005) return "less than 0.05%";
  return absl::StrFormat(share < 0.1 ? "%.1f%%" : "%.0f%%", 100 * share);
}

std::string WithCommas(int64_t number) {
  std::string digits = absl::StrCat(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

std::string_view NameOf(std::string_view side) {
  if (side == kBaseSide) return "the plain model";
  if (side == kPersonaSide) return "the persona alone";
  if (side == kInUseSide) return "the adapter in use";
  return "your adapter";
}

// "6.1% better than the persona alone"
std::string Amount(const Comparison& comparison) {
  const double size = std::abs(comparison.percent);
  const std::string_view name = NameOf(comparison.against);
  const absl::string_view against(name.data(), name.size());
  if (size < 0.05) return absl::StrCat("no better than ", against);
  return absl::StrFormat("%.*f%% %s than %s", size < 10 ? 1 : 0, size,
                         comparison.percent > 0 ? "better" : "worse", against);
}

// Why a side that does not win does not.
std::string Doubt(const Comparison& comparison, bool tested, const JudgeOptions& options) {
  if (comparison.gain.gain <= 0 || std::abs(comparison.percent) < 0.05) return "";
  if (!tested) return " (too little to be sure of with so few passages)";
  if (comparison.p_value > options.level) {
    return absl::StrCat(" (within the noise: the chance that this is luck is ",
                        Percent(comparison.p_value), ")");
  }
  return " (too little to be worth a change)";
}

// All rivals of one side; the one it is least sure to beat first.
std::vector<Comparison> Rivals(const JudgedSide& side, std::span<const JudgedSide> sides,
                               const JudgeOptions& options) {
  std::vector<Comparison> comparisons;
  for (const JudgedSide& other : sides) {
    const bool rival =
        other.name != side.name && (other.name == kBaseSide || other.name == kInUseSide ||
                                    (other.name == kPersonaSide && side.name == kPersonalizedSide));
    if (rival) comparisons.push_back(CompareSides(side, other, options));
  }
  std::ranges::stable_sort(comparisons, [](const Comparison& a, const Comparison& b) {
    return a.wins != b.wins ? b.wins : a.gain.gain < b.gain.gain;
  });
  return comparisons;
}

bool BeatsAll(std::span<const Comparison> comparisons) {
  return std::ranges::all_of(comparisons, &Comparison::wins);
}

double Luck(std::span<const Comparison> comparisons) {
  double luck = 0;
  for (const Comparison& comparison : comparisons) luck = std::max(luck, comparison.p_value);
  return luck;
}

// "your adapter predicts you 6.1% better than the persona alone and 11% better than the plain
// model"
std::string Gains(std::string_view subject, std::span<const Comparison> comparisons) {
  std::string words =
      absl::StrCat(absl::string_view(subject.data(), subject.size()), " predicts you ");
  for (size_t i = 0; i < comparisons.size(); ++i) {
    const bool last = i + 1 == comparisons.size();
    absl::StrAppend(&words, i == 0 ? "" : last ? " and " : ", ", Amount(comparisons[i]));
  }
  return words;
}

std::string Certainty(const Verdict& verdict) {
  if (verdict.tested) {
    return absl::StrCat("; chance that this is luck: ", Percent(verdict.p_value));
  }
  return absl::StrCat("; too few passages to say how sure this is, but each of the ",
                      verdict.documents, " is predicted better");
}

std::string WhatWasRead(const Verdict& verdict) {
  return absl::StrCat("on ", verdict.documents, " held-out passage",
                      verdict.documents == 1 ? "" : "s", " (", WithCommas(verdict.tokens),
                      " tokens) ");
}

// Fills the words of a verdict whose numbers stand.  `mine` and `persona`: the rivals of each.
std::string Words(const Verdict& verdict, std::span<const Comparison> mine,
                  std::span<const Comparison> persona, const JudgeOptions& options) {
  if (verdict.outcome == Outcome::kKept) {
    return absl::StrCat("kept: ", WhatWasRead(verdict), Gains("your adapter", mine),
                        Certainty(verdict));
  }
  const std::string failed =
      absl::StrCat(Amount(mine.front()), Doubt(mine.front(), verdict.tested, options));
  if (verdict.outcome == Outcome::kPersonaOnly) {
    return absl::StrCat("persona only: ", WhatWasRead(verdict),
                        "training on your text did not surely help: your adapter predicts you ",
                        failed, ", so it was dropped; ", Gains("the persona alone", persona),
                        Certainty(verdict));
  }
  const bool in_use = std::ranges::any_of(
      mine, [](const Comparison& comparison) { return comparison.against == kInUseSide; });
  std::string words =
      absl::StrCat("rolled back: ", WhatWasRead(verdict), "your adapter predicts you ", failed);
  if (!persona.empty()) {
    absl::StrAppend(&words, ", the persona alone ", Amount(persona.front()),
                    Doubt(persona.front(), verdict.tested, options));
  }
  absl::StrAppend(&words, "; ", in_use ? "the adapter in use" : "the plain model", " stays");
  if (!verdict.tested) {
    absl::StrAppend(&words, "; ", verdict.documents, " passage", verdict.documents == 1 ? "" : "s",
                    " are too few for a test: with more text, personalize again");
  }
  return words;
}

}  // namespace

const JudgedSide* FindSide(std::span<const JudgedSide> sides, std::string_view name) {
  const auto found = std::ranges::find(sides, name, &JudgedSide::name);
  return found == sides.end() ? nullptr : &*found;
}

double ChanceOfLuck(std::span<const DocumentLoss> a, std::span<const DocumentLoss> b) {
  LORIKEET_CHECK(a.size() == b.size());
  const std::vector<double> differences = Differences(a, b);
  if (differences.empty()) return 1;
  double seen = 0, size = 0;
  for (const double difference : differences) {
    seen += difference;
    size += std::abs(difference);
  }
  // All sign patterns in Gray-code order: each differs from the last in one sign.  A pattern that
  // ties with the seen one up to rounding counts as large.
  const double threshold = seen - 1e-9 * size;
  const uint64_t patterns = uint64_t{1} << differences.size();
  std::vector<double> signs(differences.size(), 1.0);
  double sum = seen;
  uint64_t as_large = 1;
  for (uint64_t i = 1; i < patterns; ++i) {
    const auto flip = static_cast<size_t>(std::countr_zero(i));
    signs[flip] = -signs[flip];
    sum += 2 * signs[flip] * differences[flip];
    if (sum >= threshold) ++as_large;
  }
  return static_cast<double>(as_large) / static_cast<double>(patterns);
}

Comparison CompareSides(const JudgedSide& side, const JudgedSide& against,
                        const JudgeOptions& options) {
  Comparison result{.side = side.name,
                    .against = against.name,
                    .gain = ComparePaired(against.losses, side.losses)};
  const double before = MeanLoss(against.losses);
  if (before > 0) result.percent = 100 * result.gain.gain / before;
  result.p_value = ChanceOfLuck(against.losses, side.losses);
  const auto documents = static_cast<size_t>(CountDocuments(side.losses));
  const double least_chance = std::pow(2.0, -static_cast<double>(std::min(documents, kMostUnits)));
  if (least_chance <= options.level) {
    result.wins = result.p_value <= options.level && result.gain.gain >= options.min_gain;
  } else {
    result.wins = documents >= options.fewest_documents && result.p_value <= least_chance &&
                  result.gain.gain >= options.cautious_gain;
  }
  return result;
}

Verdict Judge(std::span<const JudgedSide> sides, const JudgeOptions& options) {
  const JudgedSide* base = FindSide(sides, kBaseSide);
  const JudgedSide* personalized = FindSide(sides, kPersonalizedSide);
  const JudgedSide* persona = FindSide(sides, kPersonaSide);
  LORIKEET_CHECK(base != nullptr && personalized != nullptr);
  Verdict verdict;
  verdict.documents = CountDocuments(base->losses);
  verdict.tokens = CountTokens(base->losses);
  verdict.tested =
      std::pow(2.0, -static_cast<double>(std::min<int64_t>(verdict.documents, kMostUnits))) <=
      options.level;
  const std::vector<Comparison> mine = Rivals(*personalized, sides, options);
  std::vector<Comparison> of_persona;
  if (persona != nullptr) of_persona = Rivals(*persona, sides, options);
  if (BeatsAll(mine)) {
    verdict.outcome = Outcome::kKept;
    verdict.p_value = Luck(mine);
  } else if (persona != nullptr && BeatsAll(of_persona)) {
    verdict.outcome = Outcome::kPersonaOnly;
    verdict.p_value = Luck(of_persona);
  } else {
    verdict.p_value = Luck(mine);
  }
  verdict.words = Words(verdict, mine, of_persona, options);
  verdict.proofs = mine;
  verdict.proofs.insert(verdict.proofs.end(), of_persona.begin(), of_persona.end());
  return verdict;
}

}  // namespace lorikeet
