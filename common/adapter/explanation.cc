#include "common/adapter/explanation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/adapter/nnls.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr int kMaxWidth = 1 << 16;
constexpr double kUnitTolerance = 1e-3;

absl::Status Bad(std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("explanation axes: ", ToAbsl(message)));
}

absl::Status CheckFloats(std::span<const float> values, size_t expected, std::string_view name) {
  if (values.size() != expected) {
    return Bad(
        absl::StrCat("expected ", expected, " values of ", ToAbsl(name), ", got ", values.size()));
  }
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    return Bad(absl::StrCat("expected finite values of ", ToAbsl(name)));
  }
  return absl::OkStatus();
}

absl::Status CheckWords(std::span<const std::string> words) {
  if (words.size() > kMaxExplanationWords) {
    return Bad(
        absl::StrCat("expected at most ", kMaxExplanationWords, " words, got ", words.size()));
  }
  std::set<std::string_view> seen;
  for (const std::string& word : words) {
    // What is malformed is not repeated: catalogs come from peers and errors go to terminals.
    if (!IsExplanationWord(word)) {
      return Bad(absl::StrCat("expected words of 1 to ", kMaxExplanationWordBytes,
                              " letters a-z and \"-\" between them, got another of ", word.size(),
                              " bytes"));
    }
    if (!seen.insert(word).second) return Bad(absl::StrCat("the word ", word, " comes twice"));
  }
  return absl::OkStatus();
}

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

bool IsExplanationWord(std::string_view word) {
  if (word.empty() || word.size() > kMaxExplanationWordBytes) return false;
  if (word.front() == '-' || word.back() == '-') return false;
  return std::ranges::all_of(word, [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
}

absl::Status CheckExplanationAxes(const ExplanationAxes& axes) {
  RETURN_IF_ERROR(CheckWords(axes.words));
  if (axes.empty()) {
    if (axes.width != 0 || !axes.neutral_mean.empty() || !axes.neutral_spread.empty() ||
        !axes.directions.empty()) {
      return Bad("expected nothing else where there are no words");
    }
    return absl::OkStatus();
  }
  if (axes.width < 1 || axes.width > kMaxWidth) {
    return Bad(absl::StrCat("expected a width of 1 to ", kMaxWidth, ", got ", axes.width));
  }
  const auto width = static_cast<size_t>(axes.width);
  RETURN_IF_ERROR(CheckFloats(axes.neutral_mean, width, "neutral mean"));
  RETURN_IF_ERROR(CheckFloats(axes.neutral_spread, width, "neutral spread"));
  RETURN_IF_ERROR(CheckFloats(axes.directions, axes.words.size() * width, "directions"));
  if (!std::ranges::all_of(axes.neutral_spread, [](float value) { return value > 0; })) {
    return Bad("expected positive neutral spreads");
  }
  for (size_t i = 0; i < axes.words.size(); ++i) {
    const auto direction = std::span(axes.directions).subspan(i * width, width);
    const double length = std::sqrt(Dot(direction, direction));
    if (!(std::abs(length - 1) <= kUnitTolerance)) {
      return Bad(
          absl::StrCat("expected a direction of length 1 for ", axes.words[i], ", got ", length));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Explanation> Decompose(const ExplanationAxes& axes,
                                      std::span<const float> mean_hidden) {
  RETURN_IF_ERROR(CheckFloats(mean_hidden, static_cast<size_t>(axes.width), "the hidden state"));
  const size_t words = axes.words.size(), width = mean_hidden.size();
  Explanation explanation;
  explanation.weights.assign(words, 0.0);
  std::vector<double> difference(width);
  double squares = 0;
  for (size_t c = 0; c < width; ++c) {
    difference[c] = (static_cast<double>(mean_hidden[c]) - axes.neutral_mean[c]) /
                    axes.neutral_spread[c] / std::sqrt(static_cast<double>(width));
    squares += difference[c] * difference[c];
  }
  if (words == 0 || !(squares > 0) || !std::isfinite(squares)) return explanation;

  std::vector<double> gram(words * words), target(words, 0.0);
  for (size_t i = 0; i < words; ++i) {
    const auto row = std::span(axes.directions).subspan(i * width, width);
    for (size_t c = 0; c < width; ++c) target[i] += row[c] * difference[c];
    for (size_t j = 0; j <= i; ++j) {
      gram[i * words + j] = gram[j * words + i] =
          Dot(row, std::span(axes.directions).subspan(j * width, width));
    }
  }
  explanation.weights = NonNegativeLeastSquares(gram, target);
  // |d - D w|^2 = |d|^2 - 2 w.t + w.G w; summed directly, it does not suffer from cancellation.
  double rest = 0;
  for (size_t c = 0; c < width; ++c) {
    double value = difference[c];
    for (size_t i = 0; i < words; ++i)
      value -= explanation.weights[i] * axes.directions[i * width + c];
    rest += value * value;
  }
  explanation.residual = std::min(1.0, std::sqrt(rest / squares));
  return explanation;
}

double ExplanationDistance(const Explanation& a, const Explanation& b) {
  LORIKEET_CHECK(a.weights.size() == b.weights.size());
  double sum = 0;
  for (size_t i = 0; i < a.weights.size(); ++i) sum += std::abs(a.weights[i] - b.weights[i]);
  return sum;
}

std::vector<size_t> StrongestWords(std::span<const double> weights, size_t count, double least) {
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return weights[a] > weights[b]; });
  size_t kept = 0;
  while (kept < std::min(count, order.size()) && weights[order[kept]] > least) ++kept;
  order.resize(kept);
  return order;
}

}  // namespace lorikeet
