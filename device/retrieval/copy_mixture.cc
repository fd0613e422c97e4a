#include "device/retrieval/copy_mixture.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace lorikeet {
namespace {

constexpr size_t kMostPlaces = 4096;

}  // namespace

double MixedProbability(double model_probability, const CopyShares& shares,
                        const CopyWeights& weights) {
  double probability = model_probability;
  for (int k = 0; k < kCopyOrders; ++k) {
    if (shares[k] >= 0) probability += weights[k] * (shares[k] - probability);
  }
  return probability;
}

void CopyMixture::AddText(std::span<const TokenId> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) after_[tokens[i - 1]].push_back(static_cast<uint32_t>(tokens_.size()));
    tokens_.push_back(tokens[i]);
  }
  if (!tokens.empty()) tokens_.push_back(-1);
}

std::array<std::vector<TokenId>, kCopyOrders> CopyMixture::Followers(
    std::span<const TokenId> history) const {
  std::array<std::vector<TokenId>, kCopyOrders> followers;
  if (history.empty()) return followers;
  const auto places = after_.find(history.back());
  if (places == after_.end()) return followers;
  const std::span<const uint32_t> all(places->second);
  for (const uint32_t place : all.last(std::min(all.size(), kMostPlaces))) {
    followers[0].push_back(tokens_[place]);
    for (size_t k = 2; k <= kCopyOrders; ++k) {
      if (k > place || k > history.size() || tokens_[place - k] != history[history.size() - k]) {
        break;
      }
      followers[k - 1].push_back(tokens_[place]);
    }
  }
  return followers;
}

CopyShares CopyMixture::Shares(std::span<const TokenId> history, TokenId token) const {
  CopyShares shares;
  const auto followers = Followers(history);
  for (int k = 0; k < kCopyOrders; ++k) {
    shares[k] = followers[k].empty() ? -1.0f
                                     : static_cast<float>(std::ranges::count(followers[k], token)) /
                                           static_cast<float>(followers[k].size());
  }
  return shares;
}

void CopyMixture::Mix(std::span<const TokenId> history, const CopyWeights& weights,
                      std::span<float> logits) const {
  const auto followers = Followers(history);
  if (followers[0].empty()) return;
  // Mixture = kept * model + copied(token).
  double kept = 1;
  std::map<TokenId, double> copied;
  for (int k = 0; k < kCopyOrders && !followers[k].empty(); ++k) {
    kept *= 1 - weights[k];
    for (auto& [token, share] : copied) share *= 1 - weights[k];
    const double each = weights[k] / static_cast<double>(followers[k].size());
    for (const TokenId token : followers[k]) copied[token] += each;
  }
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  const double normalizer = largest + std::log(sum);
  for (const auto& [token, share] : copied) {
    if (static_cast<size_t>(token) >= logits.size() || share == 0) continue;
    const double probability = std::exp(logits[token] - normalizer);
    logits[token] = static_cast<float>(std::log(probability + share / kept) + normalizer);
  }
}

}  // namespace lorikeet
