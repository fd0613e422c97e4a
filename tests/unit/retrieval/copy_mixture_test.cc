#include "device/retrieval/copy_mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace lorikeet {
namespace {

std::vector<double> Softmax(const std::vector<float>& logits) {
  std::vector<double> p;
  for (const float logit : logits) p.push_back(std::exp(double{logit}));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

TEST(CopyMixtureTest, SharesAreFrequenciesAfterTheLongestMatches) {
  CopyMixture mixture;
  mixture.AddText(std::vector<TokenId>{1, 2, 3, 4});
  mixture.AddText(std::vector<TokenId>{5, 2, 3, 6, 3, 7});
  // After 3: 4, 6, 7; after 2 3: 4, 6; after 1 2 3: 4.
  const CopyShares four = mixture.Shares(std::vector<TokenId>{9, 1, 2, 3}, 4);
  EXPECT_FLOAT_EQ(four[0], 1.0f / 3);
  EXPECT_FLOAT_EQ(four[1], 0.5f);
  EXPECT_FLOAT_EQ(four[2], 1.0f);
  const CopyShares seven = mixture.Shares(std::vector<TokenId>{2, 3}, 7);
  EXPECT_FLOAT_EQ(seven[0], 1.0f / 3);
  EXPECT_FLOAT_EQ(seven[1], 0.0f);
  EXPECT_LT(seven[2], 0) << "no match of three: the history has two";
}

TEST(CopyMixtureTest, NothingFollowsTheEndOfAText) {
  CopyMixture mixture;
  mixture.AddText(std::vector<TokenId>{1, 2});
  mixture.AddText(std::vector<TokenId>{3, 4});
  EXPECT_LT(mixture.Shares(std::vector<TokenId>{1, 2}, 3)[0], 0);
  // Nor does a match reach back over it.
  EXPECT_LT(mixture.Shares(std::vector<TokenId>{2, 3}, 4)[1], 0);
  EXPECT_FLOAT_EQ(mixture.Shares(std::vector<TokenId>{2, 3}, 4)[0], 1.0f);
}

TEST(CopyMixtureTest, LogitsBecomeTheMixture) {
  CopyMixture mixture;
  mixture.AddText(std::vector<TokenId>{1, 2, 3, 2, 4, 1, 2, 4});
  const CopyWeights weights = {0.1, 0.3, 0.5};
  const std::vector<float> logits = {0.5f, -1, 2, 0, -3, 1};
  const std::vector<double> model = Softmax(logits);
  for (const std::vector<TokenId>& history :
       {std::vector<TokenId>{2}, {1, 2}, {4, 1, 2}, {5}, {}, {2, 4}}) {
    std::vector<float> mixed = logits;
    mixture.Mix(history, weights, mixed);
    const std::vector<double> p = Softmax(mixed);
    for (TokenId token = 0; token < 6; ++token) {
      const double expected =
          MixedProbability(model[token], mixture.Shares(history, token), weights);
      EXPECT_NEAR(p[token], expected, 1e-6) << "token " << token;
    }
  }
}

TEST(CopyMixtureTest, TokensOutsideTheVocabularyAndEmptyTextsChangeNothing) {
  CopyMixture mixture;
  mixture.AddText({});
  mixture.AddText(std::vector<TokenId>{1, 99});
  std::vector<float> logits = {0, 1, 2};
  mixture.Mix(std::vector<TokenId>{1}, {0.5, 0.5, 0.5}, logits);
  EXPECT_EQ(logits, (std::vector<float>{0, 1, 2}));
  EXPECT_EQ(mixture.token_count(), 3u);
}

// A token so frequent that not all its places are looked at: the newest are.
TEST(CopyMixtureTest, ManyPlacesAreBoundedToTheNewest) {
  CopyMixture mixture;
  std::vector<TokenId> old, recent;
  for (int i = 0; i < 5000; ++i) old.insert(old.end(), {1, 2});
  for (int i = 0; i < 4096; ++i) recent.insert(recent.end(), {1, 3});
  mixture.AddText(old);
  mixture.AddText(recent);
  EXPECT_FLOAT_EQ(mixture.Shares(std::vector<TokenId>{1}, 3)[0], 1.0f);
}

}  // namespace
}  // namespace lorikeet
