// Choosing tokens: every option against what it is defined to be, on rows as long as real
// vocabularies.
#include "device/runtime/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "common/base/random.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kVocabulary = 151936;

TokenId SampleOne(const SamplingOptions& options, const std::vector<float>& logits,
                  const std::vector<TokenId>& history = {}) {
  Sampler sampler(options);
  const auto token = sampler.Sample(logits, history);
  EXPECT_TRUE(token.ok()) << token.status();
  return token.value_or(-1);
}

// What SamplingOptions means, in double and with full sorts: the probability of each token.
std::map<TokenId, double> Reference(const SamplingOptions& o, const std::vector<float>& logits,
                                    const std::vector<TokenId>& history = {}) {
  std::vector<double> values(logits.begin(), logits.end());
  std::map<TokenId, int> counts;
  const size_t window =
      o.penalty_window < 0 ? history.size() : std::min<size_t>(history.size(), o.penalty_window);
  for (size_t i = history.size() - window; i < history.size(); ++i) ++counts[history[i]];
  for (const auto& [id, count] : counts) {
    values[id] = values[id] > 0 ? values[id] / o.repeat_penalty : values[id] * o.repeat_penalty;
    values[id] -= o.presence_penalty + count * o.frequency_penalty;
  }
  std::vector<TokenId> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return values[a] > values[b]; });
  if (o.top_k > 0) order.resize(std::min<size_t>(order.size(), o.top_k));
  const double best = values[order[0]];
  double total = 0;
  for (const TokenId id : order) total += std::exp(values[id] - best);
  double sum = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || sum < o.top_p * total)) {
    sum += std::exp(values[order[count++]] - best);
  }
  order.resize(count);
  std::map<TokenId, double> probability;
  double kept = 0;
  for (const TokenId id : order) {
    if (id != order[0] && std::exp(values[id] - best) < o.min_p) continue;
    kept += probability[id] = std::exp((values[id] - best) / o.temperature);
  }
  for (auto& [id, p] : probability) p /= kept;
  return probability;
}

// Pearson's chi-square of `draws` draws against Reference; rare tokens are counted together.  The
// bound is passed by chance with a probability below 1e-8 (Laurent and Massart 2000, lemma 1: a
// chi-square of n degrees exceeds n + 2 sqrt(n x) + 2 x with probability at most e^-x).
void ExpectDistribution(const SamplingOptions& options, const std::vector<float>& logits,
                        const std::vector<TokenId>& history = {}, int draws = 10000) {
  const std::map<TokenId, double> expected = Reference(options, logits, history);
  std::map<TokenId, int> counts;
  Sampler sampler(options);
  for (int i = 0; i < draws; ++i) {
    const auto token = sampler.Sample(logits, history);
    ASSERT_TRUE(token.ok()) << token.status();
    ASSERT_TRUE(expected.contains(*token)) << *token << " should have been filtered out";
    ++counts[*token];
  }
  double chi_square = 0, rare = 0, rare_count = 0;
  int cells = 0;
  const auto add = [&](double p, double count) {
    chi_square += (count - draws * p) * (count - draws * p) / (draws * p);
    ++cells;
  };
  for (const auto& [id, p] : expected) {
    if (draws * p >= 20) {
      add(p, counts[id]);
    } else {
      rare += p;
      rare_count += counts[id];
    }
  }
  if (draws * rare >= 20) add(rare, rare_count);
  const double x = 18.5, degrees = std::max(1, cells - 1);
  EXPECT_LT(chi_square, degrees + 2 * std::sqrt(degrees * x) + 2 * x) << cells << " cells";
}

// A row like a model's: a few likely tokens, a long tail.
std::vector<float> RandomLogits(int count, double spread, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = static_cast<float>(spread * rng.Normal());
  return logits;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOnATie) {
  EXPECT_EQ(SampleOne({}, {0, 3, -1, 3}), 1);
  std::vector<float> logits = RandomLogits(kVocabulary, 1, 1);
  for (const int at : {0, 63, 64, 151000, kVocabulary - 1}) {
    std::vector<float> row = logits;
    row[at] = 50;
    if (at + 1 < kVocabulary) row[at + 1] = 50;
    EXPECT_EQ(SampleOne({}, row), at);
    // Only one candidate is greedy at any temperature.
    EXPECT_EQ(SampleOne({.temperature = 5, .top_k = 1}, row), at);
  }
}

TEST(Sampler, DrawsFromTheSoftmax) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  ExpectDistribution({.temperature = 1}, logits);
  ExpectDistribution({.temperature = 0.5}, logits);
  ExpectDistribution({.temperature = 3}, RandomLogits(1000, 2, 3));
  ExpectDistribution({.temperature = 1}, RandomLogits(1001, 4, 4));
}

TEST(Sampler, FiltersAreWhatTheyAreDefinedToBe) {
  const std::vector<float> logits = RandomLogits(777, 3, 5);
  for (const double temperature : {0.5, 1.0, 2.0}) {
    ExpectDistribution({.temperature = temperature, .top_k = 10}, logits);
    ExpectDistribution({.temperature = temperature, .top_p = 0.8}, logits);
    ExpectDistribution({.temperature = temperature, .min_p = 0.1}, logits);
    ExpectDistribution({.temperature = temperature, .top_k = 40, .top_p = 0.9, .min_p = 0.05},
                       logits);
    ExpectDistribution({.temperature = temperature, .top_k = 1000, .top_p = 0.95}, logits);
  }
}

TEST(Sampler, FiltersKeepTheLikeliest) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.2f),
                                     std::log(0.3f)};
  const auto ids = [&](const SamplingOptions& options) {
    Sampler sampler(options);
    std::map<TokenId, int> counts;
    for (int i = 0; i < 2000; ++i) ++counts[*sampler.Sample(logits, {})];
    std::vector<TokenId> kept;
    for (const auto& [id, count] : counts) kept.push_back(id);
    return kept;
  };
  EXPECT_THAT(ids({.temperature = 1}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(ids({.temperature = 1, .top_k = 2}), ElementsAre(1, 3));
  EXPECT_THAT(ids({.temperature = 1, .top_p = 0.65}), ElementsAre(1, 3));
  EXPECT_THAT(ids({.temperature = 1, .top_p = 0.75}), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids({.temperature = 1, .min_p = 0.4}), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids({.temperature = 1, .min_p = 1}), ElementsAre(1));
  // Top-p sees what top-k left: 0.4 of 0.7 is more than half.
  EXPECT_THAT(ids({.temperature = 1, .top_k = 2, .top_p = 0.55}), ElementsAre(1));
  // Filters come before the temperature: a high one does not let more in.
  EXPECT_THAT(ids({.temperature = 50, .top_p = 0.65}), ElementsAre(1, 3));
}

TEST(Sampler, TopPOfAWholeVocabulary) {
  // Peaked: few candidates.  Flat: far more than are looked at first, so groups are cut.
  ExpectDistribution({.temperature = 1, .top_p = 0.9}, RandomLogits(kVocabulary, 4, 6), {}, 500);
  ExpectDistribution({.temperature = 1, .top_p = 0.9}, RandomLogits(kVocabulary, 0.3, 7), {}, 500);
  ExpectDistribution({.temperature = 0.6, .top_p = 0.99, .min_p = 0.2},
                     RandomLogits(kVocabulary, 0.5, 8), {}, 500);
  // All equal: the lowest ids are kept, exactly as many as needed.
  const std::vector<float> equal(10000, 1.0f);
  Sampler sampler({.temperature = 1, .top_p = 0.9});
  TokenId highest = 0;
  for (int i = 0; i < 5000; ++i) highest = std::max(highest, *sampler.Sample(equal, {}));
  EXPECT_LE(highest, 9000);
  EXPECT_GT(highest, 8900);
}

TEST(Sampler, PenaltiesAreSubtractedAndDivided) {
  const std::vector<float> logits = {2.0f, 1.5f, -1.0f, 0.5f};
  const std::vector<TokenId> history = {3, 0, 0, 0, 2};
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = 1, .repeat_penalty = 1.7},
        SamplingOptions{.temperature = 1, .presence_penalty = 0.8},
        SamplingOptions{.temperature = 1, .frequency_penalty = 0.4},
        SamplingOptions{.temperature = 1, .presence_penalty = -0.8, .frequency_penalty = 0.1},
        SamplingOptions{.temperature = 1, .repeat_penalty = 0.5, .penalty_window = 2},
        SamplingOptions{.temperature = 1, .frequency_penalty = 0.4, .penalty_window = -1},
        SamplingOptions{.temperature = 1, .frequency_penalty = 0.4, .penalty_window = 0}}) {
    ExpectDistribution(options, logits, history);
  }
}

TEST(Sampler, PenaltiesWorkOnGreedyChoicesToo) {
  const std::vector<float> logits = {2.0f, 1.5f, -1.0f};
  SamplingOptions options{.repeat_penalty = 2.0, .penalty_window = 2};
  EXPECT_EQ(SampleOne(options, logits), 0);
  EXPECT_EQ(SampleOne(options, logits, {0}), 1);
  // Outside the window it no longer counts.
  EXPECT_EQ(SampleOne(options, logits, {0, 1, 2}), 0);
  options.penalty_window = -1;
  EXPECT_EQ(SampleOne(options, logits, {0, 2, 2}), 1);
  EXPECT_EQ(SampleOne({.presence_penalty = 0.4}, logits, {0, 0, 0}), 0);
  EXPECT_EQ(SampleOne({.frequency_penalty = 0.4}, logits, {0, 0, 0}), 1);
  // Ids that the vocabulary does not have are no one's penalty.
  EXPECT_EQ(SampleOne({.presence_penalty = 5}, logits, {-1, 3, 1000000}), 0);
}

TEST(Sampler, SameSeedSameTokens) {
  const std::vector<float> logits(50, 0.0f);
  const auto sequence = [&](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<TokenId> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(*sampler.Sample(logits, {}));
    return ids;
  };
  EXPECT_EQ(sequence(3), sequence(3));
  EXPECT_NE(sequence(3), sequence(4));
}

TEST(Sampler, ExtremeLogitsAreNumbersToo) {
  constexpr float kMost = std::numeric_limits<float>::max();
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.temperature = 1},
        SamplingOptions{.temperature = 1e-320}, SamplingOptions{.temperature = 1, .top_p = 0.5},
        SamplingOptions{.temperature = 1, .top_k = 2, .top_p = 0.5},
        SamplingOptions{.temperature = 1, .min_p = 0.5},
        SamplingOptions{.temperature = 1, .repeat_penalty = 1e-3, .frequency_penalty = 100}}) {
    EXPECT_EQ(SampleOne(options, {-kMost, kMost, 0, -kInfinity}, {0, 3}), 1);
    EXPECT_EQ(SampleOne(options, {-kInfinity, -kInfinity, -kMost}, {0}), 2);
    EXPECT_EQ(SampleOne(options, {-5.0f}), 0);
  }
  EXPECT_THAT(SampleOne({.temperature = 1, .top_k = 3, .seed = 4}, {-kInfinity, 1, -kInfinity}), 1);
}

TEST(Sampler, RefusesWhatIsNoNumber) {
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.temperature = 1, .top_k = 40, .top_p = 0.9},
        SamplingOptions{.repeat_penalty = 1.1, .presence_penalty = 1}}) {
    Sampler sampler(options);
    for (const int at : {0, 5, 77, 198}) {
      for (const float bad : {std::nanf(""), -std::nanf(""), kInfinity}) {
        std::vector<float> logits = RandomLogits(199, 1, 8);
        logits[at] = bad;
        const auto token = sampler.Sample(logits, std::vector<TokenId>{at, 1});
        EXPECT_EQ(token.status().code(), absl::StatusCode::kDataLoss);
        EXPECT_THAT(std::string(token.status().message()),
                    HasSubstr("for token " + std::to_string(at) + " "));
      }
    }
    EXPECT_FALSE(sampler.Sample(std::vector<float>(10, -kInfinity), {}).ok());
    EXPECT_FALSE(sampler.Sample({}, {}).ok());
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  EXPECT_TRUE(CheckSamplingOptions({}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.temperature = -1}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.temperature = NAN}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.top_k = -1}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.top_p = 0}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.min_p = 1.5}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.repeat_penalty = 0}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.presence_penalty = NAN}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.frequency_penalty = 101}).ok());
  EXPECT_FALSE(CheckSamplingOptions({.penalty_window = -2}).ok());
}

TEST(LogitScan, ExponentialsAreAccurate) {
  std::vector<float> x(4001), weights(4001);
  for (size_t i = 0; i < x.size(); ++i) x[i] = -0.02f * static_cast<float>(i);
  ExpWeights(x, 0, 1, weights);
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(double{x[i]});
    EXPECT_NEAR(weights[i], exact, 2e-7 * exact) << x[i];
  }
  ExpWeights(std::vector<float>{-90, -kInfinity, 3}, 3, 2, std::span(weights).first(3));
  EXPECT_EQ(weights[0], 0);
  EXPECT_EQ(weights[1], 0);
  EXPECT_EQ(weights[2], 1);
}

TEST(LogitScan, SelectsTheBest) {
  LogitScan scan;
  std::vector<Candidate> best;
  for (const int count : {1, 7, 63, 64, 65, 1000, 5000}) {
    std::vector<float> row = RandomLogits(count, 1, count);
    for (float& value : row) value = std::round(4 * value);  // many ties
    ASSERT_TRUE(scan.Scan(row).ok());
    std::vector<Candidate> all;
    for (int i = 0; i < count; ++i) all.push_back({row[i], i});
    std::sort(all.begin(), all.end(), IsBetter);
    for (const size_t k : {size_t{1}, size_t{2}, size_t{40}, size_t{900}, size_t{6000}}) {
      scan.SelectBest(k, &best);
      ASSERT_EQ(best.size(), std::min<size_t>(k, count));
      for (size_t i = 0; i < best.size(); ++i) ASSERT_EQ(best[i].id, all[i].id);
    }
  }
}

}  // namespace
}  // namespace lorikeet
