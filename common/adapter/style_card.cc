#include "common/adapter/style_card.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/style_features.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr double kMaxZ = 4;

double Round(double value) { return std::round(value * 1e5) / 1e5; }

double Z(double value, double center, double spread) {
  return std::clamp((value - center) / spread, -kMaxZ, kMaxZ);
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

struct AxisTerm {
  StyleForm form;
  double weight;
};
struct Axis {
  std::string_view positive, negative;
  std::vector<AxisTerm> terms;
};

const std::vector<Axis>& Axes() {
  using F = StyleForm;
  static const auto* const kAxes = new std::vector<Axis>{
      {"long", "short", {{F::kEntryWords, 1}, {F::kSentenceWords, 1}}},
      {"formal",
       "informal",
       {{F::kCourtesy, 1.5},
        {F::kLongWords, 1},
        {F::kSemicolon, 1},
        {F::kContraction, -1},
        {F::kAbbreviation, -1},
        {F::kLowerStart, -0.5},
        {F::kEmoticon, -0.5}}},
      {"exuberant",
       "restrained",
       {{F::kExclamation, 1.5}, {F::kShout, 1}, {F::kElongation, 0.5}, {F::kIntensifier, 1}}},
      {"dialect", "standard", {{F::kDialect, 1}}},
      {"past-narrative", "present", {{F::kPastTense, 1}, {F::kQuote, 0.5}, {F::kThirdPerson, 0.5}}},
      {"telegraphic",
       "full-sentenced",
       {{F::kArticle, -1}, {F::kSentenceWords, -0.5}, {F::kPeriod, 0.5}, {F::kFirstPerson, -0.5}}},
      {"numeric", "wordy", {{F::kNumber, 1}, {F::kTimestamp, 1}}},
      {"chatty", "composed", {{F::kAbbreviation, 1}, {F::kEmoticon, 0.5}, {F::kLowerStart, 1}}},
      {"personal", "impersonal", {{F::kFirstPerson, 1}}},
      {"inquisitive", "asserting", {{F::kQuestion, 1}}},
  };
  return *kAxes;
}

std::vector<double> FormZ(const StyleStatistics& statistics, const StyleBackground& background) {
  std::vector<double> z(kStyleFormCount);
  for (size_t i = 0; i < z.size(); ++i) {
    z[i] = Z(statistics.form[i], background.form_center[i], background.form_spread[i]);
  }
  return z;
}

double MeanZDifference(std::span<const double> a, std::span<const double> b,
                       std::span<const double> spread) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += std::min(std::abs(a[i] - b[i]) / spread[i], kMaxZ) / kMaxZ;
  }
  return sum / static_cast<double>(a.size());
}

// Correlation of square-rooted shares (Hellinger), background removed.
// Over few bins, so that a few hundred words fill them.
double SketchCorrelation(std::span<const double> a, std::span<const double> b,
                         std::span<const double> background) {
  constexpr size_t kFolded = 256;
  std::array<double, kFolded> folded_a = {}, folded_b = {}, folded_background = {};
  for (size_t i = 0; i < a.size(); ++i) {
    folded_a[i % kFolded] += a[i];
    folded_b[i % kFolded] += b[i];
    folded_background[i % kFolded] += background[i];
  }
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < kFolded; ++i) {
    const double center = std::sqrt(folded_background[i]);
    const double x = std::sqrt(folded_a[i]) - center, y = std::sqrt(folded_b[i]) - center;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (aa == 0 || bb == 0) return aa == bb ? 1 : 0;
  return ab / std::sqrt(aa * bb);
}

std::string JoinPhrases(const std::vector<std::string_view>& phrases) {
  std::string result;
  for (size_t i = 0; i < phrases.size(); ++i) {
    if (i > 0) result += i + 1 == phrases.size() ? " and " : ", ";
    result += phrases[i];
  }
  return result;
}

// English prose has 30 to 50 of the function words in 100; German, by coincidence of spelling, 3.
bool IsReadable(const StyleStatistics& statistics) {
  constexpr int64_t kEnoughWords = 50;
  constexpr double kFewest = 8;
  double function_words = 0;
  for (double root : statistics.words) function_words += root * root;
  return statistics.word_count < kEnoughWords || function_words >= kFewest;
}

// The plain sentence: length and casing as adjectives, then the three features furthest from the
// background.
std::string Describe(const StyleStatistics& statistics, const StyleBackground& background) {
  if (!IsReadable(statistics)) return "in a language or notation that the style cards do not know";
  const std::vector<double> z = FormZ(statistics, background);
  const auto at = [&](StyleForm form) { return z[static_cast<size_t>(form)]; };
  const double words = std::exp2(statistics.form[static_cast<size_t>(StyleForm::kEntryWords)]) - 1;
  std::vector<std::string_view> adjectives;
  if (at(StyleForm::kEntryWords) <= -1) adjectives.push_back("short");
  if (at(StyleForm::kEntryWords) >= 1) adjectives.push_back("long");
  if (at(StyleForm::kLowerStart) >= 1.5) adjectives.push_back("lower-case");
  const bool letters = at(StyleForm::kCourtesy) >= 1.5 && at(StyleForm::kAbbreviation) < 1;
  const std::string_view noun = letters ? "letters" : words < 30 ? "messages" : "passages";

  std::vector<std::pair<double, std::string_view>> evidence;
  for (size_t i = 0; i < z.size(); ++i) {
    const StyleFormInfo& info = StyleFormTable()[i];
    const std::string_view phrase = z[i] > 0 ? info.many : info.few;
    if (!phrase.empty() && std::abs(z[i]) >= 1) evidence.emplace_back(std::abs(z[i]), phrase);
  }
  std::ranges::stable_sort(evidence,
                           [](const auto& x, const auto& y) { return x.first > y.first; });
  if (evidence.size() > 3) evidence.resize(3);
  std::vector<std::string_view> phrases;
  for (const auto& [strength, phrase] : evidence) phrases.push_back(phrase);

  std::string result;
  for (size_t i = 0; i < adjectives.size(); ++i) {
    absl::StrAppend(&result, ToAbsl(adjectives[i]), i + 1 < adjectives.size() ? ", " : " ");
  }
  absl::StrAppend(&result, ToAbsl(noun));
  if (phrases.empty()) return absl::StrCat(result, " in plain everyday prose");
  return absl::StrCat(result, " with ", JoinPhrases(phrases));
}

}  // namespace

std::span<const std::string_view> StyleTraitNames() {
  static const auto* const kNames = [] {
    auto* names = new std::vector<std::string_view>;
    for (const Axis& axis : Axes()) names->push_back(axis.positive);
    return names;
  }();
  return *kNames;
}

StyleBackground MakeStyleBackground(std::span<const std::string_view> documents, int chunk_words) {
  std::vector<StyleStatistics> chunks;
  for (size_t begin = 0; begin < documents.size();) {
    // Spaces are a good enough count of words for cutting chunks.
    int words = 0;
    size_t end = begin;
    while (end < documents.size() && words < chunk_words) {
      words += 1 + static_cast<int>(std::ranges::count(documents[end++], ' '));
    }
    chunks.push_back(CountStyle(documents.subspan(begin, end - begin)));
    begin = end;
  }
  const StyleStatistics all = CountStyle(documents);
  if (chunks.empty()) chunks.push_back(all);
  const auto robust = [&](auto member, size_t size, auto floor, std::vector<double>* center,
                          std::vector<double>* spread) {
    for (size_t i = 0; i < size; ++i) {
      std::vector<double> values;
      for (const StyleStatistics& chunk : chunks) values.push_back((chunk.*member)[i]);
      const double median = Median(values);
      for (double& value : values) value = std::abs(value - median);
      center->push_back(Round(median));
      spread->push_back(Round(std::max(1.4826 * Median(values), floor(i))));
    }
  };
  StyleBackground background;
  robust(
      &StyleStatistics::form, kStyleFormCount,
      [](size_t i) { return StyleFormTable()[i].spread_floor; }, &background.form_center,
      &background.form_spread);
  robust(
      &StyleStatistics::words, StyleFunctionWords().size(), [](size_t) { return 0.4; },
      &background.words_center, &background.words_spread);
  background.sketch = all.sketch;
  background.feature_count = all.feature_count;
  background.length = all.length;
  return background;
}

StyleCard MakeStyleCard(StyleStatistics statistics, const StyleBackground& background) {
  StyleCard card;
  card.sentence = Describe(statistics, background);
  card.statistics = std::move(statistics);
  return card;
}

std::vector<double> StyleTraits(const StyleStatistics& statistics,
                                const StyleBackground& background) {
  std::vector<double> traits;
  const std::vector<double> z = FormZ(statistics, background);
  for (const Axis& axis : Axes()) {
    double sum = 0, weights = 0;
    for (const AxisTerm& term : axis.terms) {
      sum += term.weight * z[static_cast<size_t>(term.form)];
      weights += std::abs(term.weight);
    }
    traits.push_back(Round(std::tanh(sum / weights)));
  }
  return traits;
}

double StyleDistance(const StyleStatistics& a, const StyleStatistics& b,
                     const StyleBackground& background) {
  const double form = MeanZDifference(a.form, b.form, background.form_spread);
  const double words = MeanZDifference(a.words, b.words, background.words_spread);
  const double sketch = (1 - SketchCorrelation(a.sketch, b.sketch, background.sketch)) / 2;
  return 0.45 * form + 0.2 * words + 0.35 * std::max(0.0, sketch);
}

std::string SharedTraits(const StyleStatistics& a, const StyleStatistics& b,
                         const StyleBackground& background, int count) {
  const std::vector<double> of_a = StyleTraits(a, background);
  const std::vector<double> of_b = StyleTraits(b, background);
  std::vector<std::pair<double, size_t>> shared;
  for (size_t i = 0; i < of_a.size(); ++i) {
    const double x = of_a[i], y = of_b[i];
    if (x * y > 0) shared.emplace_back(std::min(std::abs(x), std::abs(y)), i);
  }
  std::ranges::stable_sort(shared, [](const auto& x, const auto& y) { return x.first > y.first; });
  std::vector<std::string> traits;
  for (const auto& [strength, i] : shared) {
    if (static_cast<int>(traits.size()) == count || strength < 0.2) break;
    const Axis& axis = Axes()[i];
    traits.emplace_back(of_a[i] > 0 ? axis.positive : axis.negative);
  }
  std::string result;
  for (size_t i = 0; i < traits.size(); ++i) absl::StrAppend(&result, i > 0 ? ", " : "", traits[i]);
  return result;
}

}  // namespace lorikeet
