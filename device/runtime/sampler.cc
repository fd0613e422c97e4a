#include "device/runtime/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
// Candidates that top-p looks at first: usually far more than it keeps.
constexpr size_t kUsualTopP = 256;

absl::Status OutOfRange(const char* name, const char* expected, double got) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": expected ", expected, ", got ", got));
}

bool Penalizes(const SamplingOptions& o) {
  return o.penalty_window != 0 &&
         (o.repeat_penalty != 1 || o.presence_penalty != 0 || o.frequency_penalty != 0);
}

// How many of `sorted`, best first, it takes to have `target` of weight; one more than there are if
// all are not enough.
size_t CountFor(std::span<const Candidate> sorted, float best, double target) {
  double sum = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    sum += std::exp(double{sorted[i].logit} - best);
    if (sum >= target) return i + 1;
  }
  return sorted.size() + 1;
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
  if (!(std::abs(o.presence_penalty) <= 100)) {
    return OutOfRange("presence-penalty", "-100 to 100", o.presence_penalty);
  }
  if (!(std::abs(o.frequency_penalty) <= 100)) {
    return OutOfRange("frequency-penalty", "-100 to 100", o.frequency_penalty);
  }
  if (o.penalty_window < -1) {
    return OutOfRange("repeat-last-n", "-1 (the whole text), 0 (off) or more", o.penalty_window);
  }
  return absl::OkStatus();
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), rng_(options.seed) {
  LORIKEET_CHECK(CheckSamplingOptions(options).ok());
}

absl::StatusOr<TokenId> Sampler::Sample(std::span<const float> logits,
                                        std::span<const TokenId> history) {
  if (Penalizes(options_)) logits = Penalize(logits, history);
  ASSIGN_OR_RETURN(const float best, scan_.Scan(logits));
  if (options_.temperature == 0 || options_.top_k == 1) return scan_.FirstBest();
  const bool filters = options_.top_k > 0 || options_.top_p < 1 || options_.min_p > 0;
  if (!filters) return static_cast<TokenId>(Draw(logits, best));
  if (options_.top_k == 0 && options_.top_p < 1) {
    if (!KeepTopP(logits, best)) return static_cast<TokenId>(Draw(kept_logits_, best));
  } else {
    Filter(best);
  }
  KeepMinP(best);
  kept_logits_.clear();
  for (const Candidate& c : candidates_) kept_logits_.push_back(c.logit);
  return candidates_[Draw(kept_logits_, best)].id;
}

std::span<const float> Sampler::Penalize(std::span<const float> logits,
                                         std::span<const TokenId> history) {
  if (options_.penalty_window >= 0 &&
      history.size() > static_cast<size_t>(options_.penalty_window)) {
    history = history.last(static_cast<size_t>(options_.penalty_window));
  }
  penalized_.assign(logits.begin(), logits.end());
  counts_.resize(logits.size());
  const auto in_vocabulary = [&](TokenId id) {
    return id >= 0 && static_cast<size_t>(id) < logits.size();
  };
  for (const TokenId id : history) {
    if (in_vocabulary(id)) ++counts_[id];
  }
  for (const TokenId id : history) {
    if (!in_vocabulary(id) || counts_[id] == 0) continue;
    const int count = std::exchange(counts_[id], 0);
    double logit = penalized_[id];
    if (!std::isfinite(logit)) continue;
    logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
    logit -= options_.presence_penalty + count * options_.frequency_penalty;
    penalized_[id] = static_cast<float>(std::clamp(logit, -double{kLargest}, double{kLargest}));
  }
  return penalized_;
}

void Sampler::Filter(float best) {
  candidates_.clear();
  if (options_.top_k == 0) {
    // One step lower than the limit rounded to float: KeepMinP has the last word.
    const float least = static_cast<float>(best + std::log(options_.min_p));
    scan_.AppendAtLeast(std::nextafter(least, -kLargest), &candidates_);
    return;
  }
  scan_.SelectBest(static_cast<size_t>(options_.top_k), &candidates_);
  if (options_.top_p >= 1) return;
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(double{c.logit} - best);
  const size_t count = CountFor(candidates_, best, options_.top_p * total);
  candidates_.resize(std::min(count, candidates_.size()));
}

bool Sampler::KeepTopP(std::span<const float> logits, float best) {
  weights_.resize(logits.size());
  ExpWeights(logits, best, 1.0f, weights_);
  const double target = options_.top_p * SumBlocks(weights_, &block_weights_);
  scan_.SelectBest(kUsualTopP, &candidates_);
  const size_t count = CountFor(candidates_, best, target);
  if (count <= candidates_.size() || candidates_.size() == logits.size()) {
    candidates_.resize(std::min(count, candidates_.size()));
    return true;
  }
  const Candidate last = LastOfMass(logits, best, weights_, target);
  kept_logits_.resize(logits.size());
  MaskWorse(logits, last, kept_logits_);
  if (options_.min_p > 0) {
    const double least = best + std::log(options_.min_p);
    for (float& logit : kept_logits_) {
      if (logit < least) logit = -std::numeric_limits<float>::infinity();
    }
  }
  return false;
}

void Sampler::KeepMinP(float best) {
  if (options_.min_p <= 0) return;
  const double least = best + std::log(options_.min_p);
  // The best itself stays even where rounding would drop it (min_p = 1).
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < least && c.logit < best; });
}

// An index into `logits`.
size_t Sampler::Draw(std::span<const float> logits, float best) {
  // A tiny temperature is as good as 0; its inverse has to stay a number.
  const double inverse = std::min(1 / options_.temperature, double{kLargest});
  weights_.resize(logits.size());
  ExpWeights(logits, best, static_cast<float>(inverse), weights_);
  const double total = SumBlocks(weights_, &block_weights_);
  return FindCumulative(weights_, block_weights_, rng_.Uniform() * total);
}

}  // namespace lorikeet
