#include "simulations/selection/word_classifier.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr double kSmoothing = 0.3;     // counts added to every word
constexpr double kLeastSpread = 0.25;  // of log lengths

bool IsWordByte(unsigned char c) { return std::isalnum(c) != 0 || c >= 0x80 || c == '\''; }

double LogLength(size_t words) { return std::log2(1 + static_cast<double>(words)); }

using Counts = std::map<std::string, double, std::less<>>;

}  // namespace

std::vector<std::string> ClassifierWords(std::string_view text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    size_t end = i + 1;
    if (std::isspace(c) != 0) {
      i = end;
      continue;
    }
    if (IsWordByte(c)) {
      while (end < text.size() && IsWordByte(static_cast<unsigned char>(text[end]))) ++end;
    } else {
      while (end < text.size() && text[end] == text[i]) ++end;
    }
    std::string word(text.substr(i, end - i));
    for (char& letter : word) {
      letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    }
    words.push_back(std::move(word));
    i = end;
  }
  return words;
}

WordClassifier WordClassifier::Train(std::span<const std::vector<std::string>> classes,
                                     size_t vocabulary_size) {
  LORIKEET_CHECK(!classes.empty());
  WordClassifier result;
  Counts all;
  std::vector<Counts> counts(classes.size());
  for (size_t k = 0; k < classes.size(); ++k) {
    std::vector<double> lengths;
    for (const std::string& document : classes[k]) {
      const std::vector<std::string> words = ClassifierWords(document);
      lengths.push_back(LogLength(words.size()));
      for (const std::string& word : words) {
        ++counts[k][word];
        ++all[word];
      }
    }
    Class& target = result.classes_.emplace_back();
    const double n = std::max<double>(1, static_cast<double>(lengths.size()));
    for (double length : lengths) target.length_mean += length / n;
    double variance = 0;
    for (double length : lengths) {
      variance += (length - target.length_mean) * (length - target.length_mean) / n;
    }
    target.length_spread = std::max(kLeastSpread, std::sqrt(variance));
  }
  std::vector<std::pair<double, std::string>> frequent;
  for (const auto& [word, count] : all) frequent.emplace_back(-count, word);
  std::ranges::sort(frequent);
  frequent.resize(std::min(frequent.size(), vocabulary_size));
  for (const auto& [count, word] : frequent) result.vocabulary_.emplace(word, 0);
  size_t next = 0;
  for (auto& [word, index] : result.vocabulary_) index = next++;
  for (size_t k = 0; k < classes.size(); ++k) {
    std::vector<double>& share = result.classes_[k].log_share;
    share.assign(result.vocabulary_.size(), kSmoothing);
    double total = kSmoothing * static_cast<double>(share.size());
    for (const auto& [word, count] : counts[k]) {
      const auto found = result.vocabulary_.find(word);
      if (found == result.vocabulary_.end()) continue;
      share[found->second] += count;
      total += count;
    }
    for (double& value : share) value = std::log(value / total);
  }
  return result;
}

std::vector<double> WordClassifier::Scores(std::span<const std::string_view> documents) const {
  std::vector<double> scores(classes_.size(), 0.0);
  for (std::string_view document : documents) {
    const std::vector<std::string> words = ClassifierWords(document);
    for (size_t k = 0; k < classes_.size(); ++k) {
      const double z =
          (LogLength(words.size()) - classes_[k].length_mean) / classes_[k].length_spread;
      scores[k] -= 0.5 * z * z + std::log(classes_[k].length_spread);
    }
    for (const std::string& word : words) {
      const auto found = vocabulary_.find(word);
      if (found == vocabulary_.end()) continue;
      for (size_t k = 0; k < classes_.size(); ++k) {
        scores[k] += classes_[k].log_share[found->second];
      }
    }
  }
  return scores;
}

int WordClassifier::Classify(std::span<const std::string_view> documents) const {
  const std::vector<double> scores = Scores(documents);
  return static_cast<int>(std::ranges::max_element(scores) - scores.begin());
}

}  // namespace lorikeet
