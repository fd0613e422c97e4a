#include "device/runtime/sampler.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

absl::Status OutOfRange(const char* name, const char* expected, double got) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": expected ", expected, ", got ", got));
}

}  // namespace

absl::Status CheckSamplingOptions(const SamplingOptions& o) {
  // Written so that NaN fails.
  if (!(o.temperature >= 0 && o.temperature <= 100)) {
    return OutOfRange("temperature", "0 to 100", o.temperature);
  }
  if (o.top_k < 0) return OutOfRange("top-k", "0 (off) or more", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1)) return OutOfRange("top-p", "more than 0, up to 1", o.top_p);
  if (!(o.min_p >= 0 && o.min_p <= 1)) return OutOfRange("min-p", "0 to 1", o.min_p);
  if (!(o.repeat_penalty > 0 && o.repeat_penalty <= 100)) {
    return OutOfRange("repeat-penalty", "more than 0, up to 100", o.repeat_penalty);
  }
  if (o.repeat_window < 0) return OutOfRange("repeat window", "0 or more", o.repeat_window);
  return absl::OkStatus();
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), rng_(options.seed) {
  LORIKEET_CHECK(CheckSamplingOptions(options).ok());
}

TokenId Sampler::Sample(std::span<const float> logits, std::span<const TokenId> history) {
  candidates_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_[i] = {.logit = logits[i], .id = static_cast<TokenId>(i)};
  }
  Penalize(history);
  if (options_.temperature == 0) {
    // max_element keeps the first of equals: the lowest id.
    return std::max_element(
               candidates_.begin(), candidates_.end(),
               [](const Candidate& a, const Candidate& b) { return a.logit < b.logit; })
        ->id;
  }
  KeepTopK();
  KeepTopP();
  KeepMinP();
  return Draw();
}

void Sampler::Penalize(std::span<const TokenId> history) {
  if (options_.repeat_penalty == 1.0) return;
  const size_t window = std::min<size_t>(history.size(), options_.repeat_window);
  std::vector<TokenId> recent(history.end() - window, history.end());
  std::sort(recent.begin(), recent.end());
  recent.erase(std::unique(recent.begin(), recent.end()), recent.end());
  const float penalty = static_cast<float>(options_.repeat_penalty);
  for (const TokenId id : recent) {
    if (id < 0 || static_cast<size_t>(id) >= candidates_.size()) continue;
    float& logit = candidates_[id].logit;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

namespace {

// Best first; ids break ties so that the order, and with it the draw, is the same everywhere.
constexpr auto kBetter = [](const auto& a, const auto& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

}  // namespace

void Sampler::KeepTopK() {
  const size_t keep = static_cast<size_t>(options_.top_k);
  if (keep == 0 || keep >= candidates_.size()) return;
  std::partial_sort(candidates_.begin(), candidates_.begin() + keep, candidates_.end(), kBetter);
  candidates_.resize(keep);
}

void Sampler::KeepTopP() {
  if (options_.top_p >= 1.0) return;
  const float best = std::min_element(candidates_.begin(), candidates_.end(), kBetter)->logit;
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(double{c.logit} - best);
  // Usually a few dozen of many thousand candidates matter: sort in growing steps.
  size_t sorted = 0;
  double sum = 0;
  for (size_t step = 64; sorted < candidates_.size(); step *= 4) {
    const size_t end = std::min(candidates_.size(), sorted + step);
    std::partial_sort(candidates_.begin() + sorted, candidates_.begin() + end, candidates_.end(),
                      kBetter);
    for (; sorted < end; ++sorted) {
      sum += std::exp(double{candidates_[sorted].logit} - best);
      if (sum >= options_.top_p * total) {
        candidates_.resize(sorted + 1);
        return;
      }
    }
  }
}

void Sampler::KeepMinP() {
  if (options_.min_p <= 0.0) return;
  const float best = std::min_element(candidates_.begin(), candidates_.end(), kBetter)->logit;
  const double least = best + std::log(options_.min_p);
  // The best itself stays even where rounding would drop it (min_p = 1).
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < least && c.logit < best; });
}

TokenId Sampler::Draw() {
  const float best = std::min_element(candidates_.begin(), candidates_.end(), kBetter)->logit;
  const auto weight = [&](const Candidate& c) {
    return std::exp((double{c.logit} - best) / options_.temperature);
  };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  double left = rng_.Uniform() * total;
  for (const Candidate& c : candidates_) {
    left -= weight(c);
    if (left < 0) return c.id;
  }
  return candidates_.back().id;  // rounding
}

}  // namespace lorikeet
