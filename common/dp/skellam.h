// Skellam noise from integer arithmetic only (arXiv 2110.04995).
//
// Skellam(mu) is the difference of two independent Poisson(mu / 2) variables: mean 0, variance mu,
// and sums of independent ones are Skellam again, which is why every device can add a share of the
// noise.
//
// A Poisson variable is drawn by inverting a table of its probabilities, held as integers with 112
// fraction bits, with a uniform integer below their sum.  No floating point touches the sample.
// Truncation of the table keeps each sample within 2^-85 in total variation of the true
// distribution, so a vector of d coordinates adds less than d * 2^-84 to delta. Not constant time:
// the search depends on the sample.
#ifndef LORIKEET_COMMON_DP_SKELLAM_H_
#define LORIKEET_COMMON_DP_SKELLAM_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random.h"

namespace lorikeet {

// Sampler for one mean.  Thread-safe once made.
class PoissonSampler {
 public:
  // INVALID_ARGUMENT: mean not in (0, 2^28].  The mean is rounded up to a multiple of 2^-32.
  static absl::StatusOr<PoissonSampler> Create(double mean);
  uint64_t Sample(RandomSource* random) const;

 private:
  PoissonSampler() = default;
  __extension__ using Uint128 = unsigned __int128;

  uint64_t SamplePiece(RandomSource* random) const;

  int pieces_ = 1;                   // a large mean is the sum of this many equal smaller ones
  uint64_t first_ = 0;               // value of the table's first entry
  std::vector<Uint128> cumulative_;  // P(X <= first + i), times the last entry
  int bits_ = 0;                     // of the last entry
  std::vector<uint32_t> guide_;      // first entry above each value of the leading bits
};

class SkellamSampler {
 public:
  // INVALID_ARGUMENT: variance not in (0, 2^29].
  static absl::StatusOr<SkellamSampler> Create(double variance);
  int64_t Sample(RandomSource* random) const;

 private:
  explicit SkellamSampler(PoissonSampler half) : half_(std::move(half)) {}
  PoissonSampler half_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_SKELLAM_H_
