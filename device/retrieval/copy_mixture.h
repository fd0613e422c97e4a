// What the owner wrote, mixed into the next token's distribution.
//
// Where the last k = 1, 2, 3 tokens occur in the owner's texts, the tokens that followed them there
// get a share of the probability:
//   p := (1 - w_k) p + w_k c_k   for k = 1, 2, 3 as long as the last k tokens occur,
// p at first the model's distribution, c_k relative frequencies after those k tokens.  A cache
// model (Grave et al. 2017, arXiv 1612.04426), mixed as in kNN-LM (Khandelwal et al. 2020, arXiv
// 1911.00172), whose keys are tokens and not hidden states: it costs no pass through the model and
// works with any.  It is what carries facts where the model is too small to read passages in its
// prompt (measured: simulations/retrieval).  Not drafting: lookup_index.h only proposes tokens, and
// does not change what is written.
#ifndef LORIKEET_DEVICE_RETRIEVAL_COPY_MIXTURE_H_
#define LORIKEET_DEVICE_RETRIEVAL_COPY_MIXTURE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/tokenizer/tokenizer.h"

namespace lorikeet {

inline constexpr int kCopyOrders = 3;
using CopyWeights = std::array<double, kCopyOrders>;  // w_1, w_2, w_3; each in [0, 1)

// Between what fits persona_chat (0.01, 0.14, 0.06), which the base model half knows, and what fits
// irc_nicks and commit_messages (0.18, 0.3, 0.4), which it does not: fitted on some users, measured
// on others (simulations/retrieval).  Where the model is far from the owner's text more would help.
inline constexpr CopyWeights kCopyWeights = {0.04, 0.2, 0.2};

// Relative frequency of one token after matches of 1, 2, 3 tokens; negative: no match so long.
using CopyShares = std::array<float, kCopyOrders>;

// The model's probability of a token, mixed.
double MixedProbability(double model_probability, const CopyShares& shares,
                        const CopyWeights& weights);

// 4 bytes a token and 4 more for its place in the index.  Not thread-safe.
class CopyMixture {
 public:
  // Matches do not reach from one text into another.
  void AddText(std::span<const TokenId> tokens);
  size_t token_count() const { return tokens_.size(); }

  // Shares of `token` after `history`, whose end counts.
  CopyShares Shares(std::span<const TokenId> history, TokenId token) const;
  // Changes the logits [V] of tokens that followed a match, so that softmax gives the mixture.
  void Mix(std::span<const TokenId> history, const CopyWeights& weights,
           std::span<float> logits) const;

 private:
  // Tokens that followed matches of k + 1 tokens, with repeats; of the newest 4096 places where the
  // last token occurs.
  std::array<std::vector<TokenId>, kCopyOrders> Followers(std::span<const TokenId> history) const;

  std::vector<TokenId> tokens_;                               // -1 after each text
  std::unordered_map<TokenId, std::vector<uint32_t>> after_;  // positions behind each token
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RETRIEVAL_COPY_MIXTURE_H_
