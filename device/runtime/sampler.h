// Choosing the next token from logits.
//
// Order, as in llama.cpp's default chain: repeat penalty, top-k, top-p, min-p, temperature, draw.
// Same seed, same logits, same tokens.  Not here: stopping and text (generate.h).
#ifndef LORIKEET_DEVICE_RUNTIME_SAMPLER_H_
#define LORIKEET_DEVICE_RUNTIME_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/base/random.h"
#include "common/tokenizer/tokenizer.h"

namespace lorikeet {

struct SamplingOptions {
  double temperature = 0.0;  // 0: the largest logit (lowest id on a tie)
  int top_k = 0;             // keep the k largest; 0 = all
  double top_p = 1.0;        // keep the smallest set with this much probability, in (0, 1]
  double min_p = 0.0;  // keep what has at least this share of the largest probability, in [0, 1]
  double repeat_penalty = 1.0;  // > 1 makes recent tokens less likely (arXiv 1909.05858)
  int repeat_window = 64;       // how many recent tokens count
  uint64_t seed = 1;
};

// INVALID_ARGUMENT names the option out of range.
absl::Status CheckSamplingOptions(const SamplingOptions& options);

// Not thread-safe.
class Sampler {
 public:
  // REQUIRES: CheckSamplingOptions(options) is OK.
  explicit Sampler(const SamplingOptions& options);

  // logits [V]; `history`: tokens so far, the last repeat_window of which are penalized.
  TokenId Sample(std::span<const float> logits, std::span<const TokenId> history);

 private:
  struct Candidate {
    float logit;
    TokenId id;
  };
  void Penalize(std::span<const TokenId> history);
  void KeepTopK();
  void KeepTopP();
  void KeepMinP();
  TokenId Draw();

  SamplingOptions options_;
  Rng rng_;
  std::vector<Candidate> candidates_;  // by id until KeepTopK, then best first as far as sorted
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_SAMPLER_H_
