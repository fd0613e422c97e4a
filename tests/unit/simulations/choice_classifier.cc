#include "tests/unit/simulations/choice_classifier.h"

#include <algorithm>
#include <cmath>

#include "simulations/audit/empirical_epsilon.h"

namespace lorikeet {

int64_t RightGuesses(const std::vector<ChoiceSample>& samples) {
  const size_t half = samples.size() / 2, width = samples[0].features.size();
  std::vector<double> weights(width), middles(width);
  for (size_t f = 0; f < width; ++f) {
    double sums[2] = {}, counts[2] = {}, squares = 0, all = 0;
    double least = samples[0].features[f], most = least;  // a constant says nothing
    for (size_t i = 0; i < half; ++i) {
      const double value = samples[i].features[f];
      sums[samples[i].choice] += value;
      counts[samples[i].choice] += 1;
      least = std::min(least, value);
      most = std::max(most, value);
      all += value / static_cast<double>(half);
    }
    for (size_t i = 0; i < half; ++i) {
      squares += std::pow(samples[i].features[f] - all, 2) / static_cast<double>(half);
    }
    const double mean_a = sums[0] / counts[0], mean_b = sums[1] / counts[1];
    middles[f] = (mean_a + mean_b) / 2;
    if (least < most) weights[f] = (mean_b - mean_a) / squares;
  }
  int64_t right = 0;
  for (size_t i = half; i < samples.size(); ++i) {
    double score = 0;
    for (size_t f = 0; f < width; ++f) {
      score += weights[f] * (samples[i].features[f] - middles[f]);
    }
    right += (score > 0 ? 1 : 0) == samples[i].choice ? 1 : 0;
  }
  return right;
}

double ChanceOf(const std::vector<ChoiceSample>& samples) {
  const int64_t tested = static_cast<int64_t>(samples.size() - samples.size() / 2);
  const int64_t right = RightGuesses(samples);
  return 2 * BinomialUpperTail(tested, 0.5, std::max(right, tested - right));
}

}  // namespace lorikeet
