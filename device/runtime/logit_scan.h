// Passes over one row of logits, a whole vocabulary long, that the sampler needs: maxima, the
// largest few, exponentials.
//
// Written for rows of 150,000 numbers at every token: a few passes at the speed of the cache, never
// a full sort.  What to do with the results is the sampler's (sampler.h).
#ifndef LORIKEET_DEVICE_RUNTIME_LOGIT_SCAN_H_
#define LORIKEET_DEVICE_RUNTIME_LOGIT_SCAN_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"

namespace lorikeet {

struct Candidate {
  float logit;
  TokenId id;
};

// Best first; the lower id of equals, so that an order, and with it a draw, is the same everywhere.
inline bool IsBetter(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// Maxima of one row by blocks: which blocks need no second look.  Not thread-safe; keeps a view of
// the row.
class LogitScan {
 public:
  // The largest logit.  -inf is "never" and allowed while something else is finite.  DATA_LOSS: a
  // NaN, +inf, or nothing finite; names the first such token.  INVALID_ARGUMENT: empty row.
  absl::StatusOr<float> Scan(std::span<const float> row);

  // The lowest id with the largest logit.  REQUIRES: Scan succeeded.
  TokenId FirstBest() const;
  // Appends all with logit >= least, by id, to `out`.
  void AppendAtLeast(float least, std::vector<Candidate>* out) const;
  // The `count` best, best first, into `out`; all if there are fewer.
  void SelectBest(size_t count, std::vector<Candidate>* out);

 private:
  std::span<const float> row_;
  float best_ = 0;
  std::vector<float> block_best_;
  std::vector<float> scratch_;
};

// weights[i] = exp((logits[i] - best) * factor), relative error 2e-7; 0 below 1e-37.
// REQUIRES: equal lengths; logits[i] <= best; factor > 0 and finite.  Cephes' polynomial for e^x.
void ExpWeights(std::span<const float> logits, float best, float factor, std::span<float> weights);

// Sums of 64 weights each into `blocks`; returns the total.
double SumBlocks(std::span<const float> weights, std::vector<float>* blocks);
// Smallest i whose weights up to and with i exceed `target`; the last with a weight if rounding
// leaves none.  REQUIRES: blocks from SumBlocks of the same weights, some weight > 0.
size_t FindCumulative(std::span<const float> weights, std::span<const float> blocks, double target);

// The worst token of the smallest set of likeliest ones whose weights reach `target`: all tokens
// better than it, and it, are the set.  weights[i] = exp(logits[i] - best).  Only tokens about as
// likely as the result are ever sorted.  REQUIRES: target <= the sum of weights, but for rounding.
Candidate LastOfMass(std::span<const float> logits, float best, std::span<const float> weights,
                     double target);
// kept[i] = logits[i] if token i is no worse than `last`, else -inf.  REQUIRES: equal lengths.
void MaskWorse(std::span<const float> logits, const Candidate& last, std::span<float> kept);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_LOGIT_SCAN_H_
