#include "common/adapter/style_match.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "common/adapter/style_features.h"

namespace lorikeet {
namespace {

constexpr double kPriorFeatures = 1000;  // of the background, mixed into every card
constexpr double kTemper = 0.1;
constexpr int kWordWeight = 3;  // a word counts as much as so many runs of characters
// Documents that the mixture calls neutral still count a little against the persona: it helps where
// all of the text is one person's.
constexpr double kPooledWeight = 0.05;
constexpr double kMostLengthRatio = 4;
constexpr double kLeastLengthSpread = 0.25;
constexpr double kMostRatio = 60;  // of a document: e^60 is sure enough
// Hypotheses on the share, equally likely before.
constexpr std::array<double, 11> kShares = {0.1, 0.2, 0.3, 0.4,  0.5,  0.6,
                                            0.7, 0.8, 0.9, 0.95, 0.999};

// Frequencies of features with nothing impossible: [kStyleSketchBins], sums to 1.
std::vector<double> Smoothed(std::span<const double> shares, double count,
                             std::span<const double> prior, double prior_count) {
  std::vector<double> result(shares.size());
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = (count * shares[i] + prior_count * prior[i]) / (count + prior_count);
  }
  return result;
}

std::vector<double> SmoothBackground(const StyleBackground& background) {
  const std::vector<double> flat(kStyleSketchBins, 1.0 / kStyleSketchBins);
  return Smoothed(background.sketch, static_cast<double>(background.feature_count), flat,
                  0.5 * kStyleSketchBins);
}

// Half of it is what all personas have in common: a domain is not a person.
std::vector<double> WithCommon(std::span<const double> background,
                               std::span<const StyleCard* const> cards) {
  if (cards.empty()) return {background.begin(), background.end()};
  std::vector<double> pooled(kStyleSketchBins, 0.0);
  for (const StyleCard* card : cards) {
    for (size_t i = 0; i < pooled.size(); ++i) {
      pooled[i] += card->statistics.sketch[i] / static_cast<double>(cards.size());
    }
  }
  return Smoothed(background, 1, pooled, 1);
}

struct Mixture {
  double log_evidence = 0;
  double share = 0;
  std::vector<double> belongs;  // a document: probability that it is the persona's
};

// `ratios`: tempered log ratio of each document.
Mixture FitMixture(std::span<const double> ratios) {
  std::array<double, kShares.size()> log_likelihood = {};
  for (size_t h = 0; h < kShares.size(); ++h) {
    for (double ratio : ratios) {
      log_likelihood[h] += std::log(kShares[h] * std::exp(ratio) + 1 - kShares[h]);
    }
  }
  const double most = *std::ranges::max_element(log_likelihood);
  Mixture mixture;
  double total = 0;
  for (size_t h = 0; h < kShares.size(); ++h) {
    const double weight = std::exp(log_likelihood[h] - most);
    total += weight;
    mixture.share += weight * kShares[h];
  }
  mixture.share /= total;
  mixture.log_evidence = most + std::log(total / static_cast<double>(kShares.size()));
  for (double ratio : ratios) {
    const double persona = mixture.share * std::exp(ratio);
    mixture.belongs.push_back(persona / (persona + 1 - mixture.share));
  }
  return mixture;
}

uint32_t Fold(uint32_t hash) { return (hash ^ (hash >> 16)) % kStyleSketchBins; }

// FNV-1a over code points.
uint32_t HashOf(std::u32string_view run, uint32_t seed) {
  uint32_t hash = 2166136261u ^ seed;
  for (char32_t c : run) hash = (hash ^ static_cast<uint32_t>(c)) * 16777619u;
  return Fold(hash);
}

}  // namespace

double MixtureEvidence(std::span<const double> log_ratios) {
  std::vector<double> clamped;
  for (double ratio : log_ratios) clamped.push_back(std::clamp(ratio, -kMostRatio, kMostRatio));
  return FitMixture(clamped).log_evidence;
}

DocumentSketch SketchDocument(std::string_view document) {
  constexpr uint32_t kWordSeed = 0x9E3779B9u;
  const std::u32string text = DecodeStyleText(document);
  DocumentSketch sketch;
  std::u32string word;
  int64_t words = 0;
  const auto end_word = [&] {
    if (word.empty()) return;
    ++words;
    sketch.features.insert(sketch.features.end(), kWordWeight,
                           static_cast<uint16_t>(HashOf(word, kWordSeed)));
    word.clear();
  };
  std::u32string normal = U" ";
  for (char32_t c : text) {
    if (IsStyleSpace(c)) c = ' ';
    if (c >= '0' && c <= '9') c = '0';
    if (IsStyleLetter(c) || c == '\'') {
      word.push_back(StyleLower(c));
    } else {
      end_word();
    }
    if (c != ' ' || normal.back() != ' ') normal.push_back(c);
  }
  end_word();
  if (normal.back() != ' ') normal.push_back(' ');
  const std::u32string_view runs(normal);
  for (size_t i = 0; i + 2 < runs.size(); ++i) {
    sketch.features.push_back(static_cast<uint16_t>(HashOf(runs.substr(i, 3), 3)));
    if (i + 3 < runs.size()) {
      sketch.features.push_back(static_cast<uint16_t>(HashOf(runs.substr(i, 4), 4)));
    }
  }
  if (words == 0 && sketch.features.size() <= 1) sketch.features.clear();
  sketch.log_words = std::log2(1 + static_cast<double>(words));
  return sketch;
}

StyleMatcher::StyleMatcher(const StyleBackground& background,
                           std::span<const StyleCard* const> cards)
    : count_(cards.size()), ratios_(kStyleSketchBins * cards.size()) {
  const std::vector<double> alone = SmoothBackground(background);
  const std::vector<double> neutral = WithCommon(alone, cards);
  for (size_t i = 0; i < neutral.size(); ++i) common_.push_back(std::log(neutral[i] / alone[i]));
  const auto length_of = [](const LengthStatistics& length) {
    return LengthStatistics{length.mean, std::max(kLeastLengthSpread, length.spread)};
  };
  background_length_ = length_of(background.length);
  for (size_t k = 0; k < cards.size(); ++k) {
    const StyleStatistics& statistics = cards[k]->statistics;
    const std::vector<double> own = Smoothed(
        statistics.sketch, static_cast<double>(statistics.feature_count), neutral, kPriorFeatures);
    for (size_t i = 0; i < own.size(); ++i) {
      ratios_[i * count_ + k] = static_cast<float>(std::log(own[i] / neutral[i]));
    }
    lengths_.push_back(length_of(statistics.length));
    self_evidence_.push_back(cards[k]->self_evidence);
  }
}

std::vector<double> StyleMatcher::Ratios(const DocumentSketch& document) const {
  std::vector<float> sums(count_, 0.0f);
  for (uint16_t feature : document.features) {
    const float* row = ratios_.data() + feature * count_;
    for (size_t k = 0; k < count_; ++k) sums[k] += row[k];
  }
  return {sums.begin(), sums.end()};
}

double StyleMatcher::CommonRatio(const DocumentSketch& document) const {
  double sum = 0;
  for (uint16_t feature : document.features) sum += common_[feature];
  return sum;
}

double StyleMatcher::LengthRatio(size_t card, double log_words) const {
  const auto log_density = [&](const LengthStatistics& length) {
    const double z = (log_words - length.mean) / length.spread;
    return -0.5 * z * z - std::log(length.spread);
  };
  return std::clamp(log_density(lengths_[card]) - log_density(background_length_),
                    -kMostLengthRatio, kMostLengthRatio);
}

std::vector<StyleEvidence> StyleMatcher::Match(std::span<const DocumentSketch> documents) const {
  std::vector<std::vector<double>> raw;  // [document][card]
  raw.reserve(documents.size());
  std::vector<double> common;
  for (const DocumentSketch& document : documents) {
    raw.push_back(Ratios(document));
    common.push_back(CommonRatio(document));
  }
  std::vector<StyleEvidence> result(count_);
  std::vector<double> tempered(documents.size());
  for (size_t k = 0; k < count_; ++k) {
    double sum = 0;
    for (size_t i = 0; i < documents.size(); ++i) {
      const bool empty = documents[i].features.empty();
      const double ratio = empty ? 0 : kTemper * raw[i][k] + LengthRatio(k, documents[i].log_words);
      tempered[i] = std::clamp(ratio, -kMostRatio, kMostRatio);
      sum += tempered[i];
    }
    const Mixture mixture = FitMixture(tempered);
    double persona = 0, features = 0;
    for (size_t i = 0; i < documents.size(); ++i) {
      persona += mixture.belongs[i] * (raw[i][k] + common[i]);
      features += mixture.belongs[i] * static_cast<double>(documents[i].features.size());
    }
    result[k].log_evidence = mixture.log_evidence + kPooledWeight * sum;
    result[k].share = mixture.share;
    if (self_evidence_[k] > 0) {
      result[k].typicality = features > 0 ? persona / features / self_evidence_[k] : 0;
    }
  }
  return result;
}

double SelfEvidence(std::span<const std::string_view> documents,
                    const StyleBackground& background) {
  constexpr size_t kFolds = 5;
  if (documents.size() < kFolds) return 0;
  double ratio = 0, features = 0;
  for (size_t fold = 0; fold < kFolds; ++fold) {
    std::vector<std::string_view> others;
    for (size_t i = 0; i < documents.size(); ++i) {
      if (i % kFolds != fold) others.push_back(documents[i]);
    }
    StyleCard card;
    card.statistics = CountStyle(others);
    const StyleCard* const cards[] = {&card};
    const StyleMatcher matcher(background, cards);
    for (size_t i = fold; i < documents.size(); i += kFolds) {
      const DocumentSketch sketch = SketchDocument(documents[i]);
      ratio += matcher.Ratios(sketch)[0] + matcher.CommonRatio(sketch);
      features += static_cast<double>(sketch.features.size());
    }
  }
  return features > 0 ? std::max(0.0, ratio / features) : 0;
}

}  // namespace lorikeet
