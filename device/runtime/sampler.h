// Choosing the next token from logits.
//
// Order, as in llama.cpp's default chain: penalties, top-k, top-p, min-p, temperature, draw.  Each
// filter sees what the one before left, with its probabilities made to add up to 1 again; filters
// see probabilities at temperature 1.  With temperature 0 penalties are all that matters.
// A token drawn takes exactly one random number and a greedy one none: same seed, same logits, same
// tokens, whatever is drafted ahead (lookup_decoder.h).  Not here: stopping and text (generate.h).
#ifndef LORIKEET_DEVICE_RUNTIME_SAMPLER_H_
#define LORIKEET_DEVICE_RUNTIME_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/tokenizer/tokenizer.h"
#include "device/runtime/logit_scan.h"

namespace lorikeet {

struct SamplingOptions {
  double temperature = 0.0;  // 0: the largest logit (lowest id on a tie)
  int top_k = 0;             // keep the k largest; 0 = all
  double top_p = 1.0;        // keep the smallest set with this much probability, in (0, 1]
  double min_p = 0.0;  // keep what has at least this share of the largest probability, in [0, 1]
  // Penalties of the tokens among the last penalty_window.  Repeat: a positive logit is divided by
  // it, a negative one multiplied (arXiv 1909.05858 and its usual repair); then presence is
  // subtracted once and frequency as many times as the token occurs.
  double repeat_penalty = 1.0;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  int penalty_window = 64;  // 0 = no penalties, -1 = the whole text
  uint64_t seed = 1;
};

// INVALID_ARGUMENT names the option out of range.
absl::Status CheckSamplingOptions(const SamplingOptions& options);

// Not thread-safe.
class Sampler {
 public:
  // REQUIRES: CheckSamplingOptions(options) is OK.
  explicit Sampler(const SamplingOptions& options);

  // logits [V]; `history`: prompt and text so far, whose end is penalized (ids outside the
  // vocabulary are not).  DATA_LOSS: logits that are NaN, +inf or all -inf.
  absl::StatusOr<TokenId> Sample(std::span<const float> logits, std::span<const TokenId> history);

 private:
  std::span<const float> Penalize(std::span<const float> logits, std::span<const TokenId> history);
  // Top-k and then top-p, or min-p alone; candidates_ is what they leave.
  void Filter(float best);
  // Top-p of the whole vocabulary.  True: candidates_ is what is left.  False, where that is much:
  // kept_logits_ [V] is, -inf elsewhere, min-p included.
  bool KeepTopP(std::span<const float> logits, float best);
  void KeepMinP(float best);
  size_t Draw(std::span<const float> logits, float best);

  SamplingOptions options_;
  Rng rng_;
  LogitScan scan_;
  std::vector<float> penalized_;
  std::vector<int> counts_;  // [V], zero between calls
  std::vector<Candidate> candidates_;
  std::vector<float> kept_logits_;
  std::vector<float> weights_;
  std::vector<float> block_weights_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_SAMPLER_H_
