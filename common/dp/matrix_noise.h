// Correlated noise for repeated rounds: the square-root Toeplitz factorization of prefix sums
// (DP-FTRL; arXiv 2405.13763, 2306.08153).
//
// Whoever adds it sees the sum before noise: this is central noise, not what devices add.  The sums
// x_1 .. x_n of n rounds are released as x + C^-1 z with independent Gaussian z, where C is lower
// triangular Toeplitz with c_0 = 1, c_i = c_{i-1} (2 i - 1) / (2 i): the square root of the matrix
// of prefix sums.  What a prefix adds up to then has much less noise than with independent noise of
// the same guarantee, because later noise cancels part of the earlier.  One guarantee covers all
// rounds: that of a Gaussian whose noise is noise_multiplier sensitivities of C.
#ifndef LORIKEET_COMMON_DP_MATRIX_NOISE_H_
#define LORIKEET_COMMON_DP_MATRIX_NOISE_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

struct MatrixShape {
  int64_t steps = 0;           // n, 1 to 100,000
  int64_t separation = 1;      // b: rounds from one contribution of a device to its next, at least
  int64_t participations = 1;  // k: contributions of a device, at most; 0: as many as fit
  int64_t bands = 0;           // c_i = 0 from here on; 0: none is cut

  friend bool operator==(const MatrixShape&, const MatrixShape&) = default;
};
// INVALID_ARGUMENT names the field that is out of range.
absl::Status ValidateMatrixShape(const MatrixShape& shape);
// k, with 0 resolved: no more than ceil(n / b) fit.
int64_t ParticipationsOf(const MatrixShape& shape);

// c_0 .. c_{n-1}.  REQUIRES: a valid shape.
std::vector<double> MatrixCoefficients(const MatrixShape& shape);
// Those of C^-1, by which earlier z are weighed.
std::vector<double> InverseCoefficients(const MatrixShape& shape);

// Largest L2 norm of C x over contributions of norm 1 in at most k rounds, b apart or more.  The
// worst are k equal contributions in rounds 0, b, 2 b ... (arXiv 2405.13763, theorem 2, for
// coefficients that do not grow).  REQUIRES: a valid shape.
double MatrixSensitivity(const MatrixShape& shape);

// Root mean square, over the n prefixes, of the noise in a prefix sum, for a noise multiplier and a
// clip norm of 1: with this factorization, and with independent noise for the same guarantee.
struct PrefixError {
  double correlated = 0;
  double independent = 0;
};
PrefixError PrefixErrorOf(const MatrixShape& shape);

// The bands (shape.bands is ignored) with the least correlated prefix error: among powers of two,
// the separation and none cut, as far as n x bands stays under 4 million.  Devices that contribute
// often need few: with a separation of 1 and every round, a single one, which is independent noise.
// REQUIRES: a valid shape.
int64_t BestBands(const MatrixShape& shape);

// Standard deviation of the noise C^-1 z of a step, over that of z.  Grows with the step, to less
// than 1.13 without bands.  REQUIRES: a valid shape, 0 <= step < steps.
double StepDeviation(const MatrixShape& shape, int64_t step);

// The noise of one round after the other.  The state is a seed and a step, whatever the dimension:
// earlier z are made again from the seed, so that a step costs O(bands or steps x dimension) time.
// The seed is as secret as the sums themselves.  Gaussian variables are made in floating point from
// 53 random bits: unlike the devices' integer noise their last bits are not proven harmless.
// Not thread-safe.
class CorrelatedNoise {
 public:
  struct Options {
    MatrixShape shape;
    double deviation = 0;  // of z: noise multiplier x sensitivity x clip norm
    int64_t dimension = 0;
    std::array<uint8_t, 32> seed = {};  // fresh and secret
  };
  static absl::StatusOr<CorrelatedNoise> Create(const Options& options);
  ~CorrelatedNoise();
  CorrelatedNoise(CorrelatedNoise&&) = default;
  CorrelatedNoise& operator=(CorrelatedNoise&&) = default;

  int64_t step() const { return step_; }
  const MatrixShape& shape() const { return options_.shape; }
  double deviation() const { return options_.deviation; }
  int64_t dimension() const { return options_.dimension; }
  // Noise of the next round, [dimension]; moves on.  A round that is tried again after a restart
  // must use the noise of its own step.  FAILED_PRECONDITION: all steps are used up.
  absl::StatusOr<std::vector<double>> Next();
  // Moves on without making the noise.  FAILED_PRECONDITION as Next.
  absl::Status Skip();

  // Everything that Restore needs, the seed included: to be stored, secretly, before the noise of a
  // step is used.  Once all steps are used up the seed is left out.
  std::string Serialize() const;
  // DATA_LOSS: not what Serialize writes.
  static absl::StatusOr<CorrelatedNoise> Restore(std::string_view bytes);

 private:
  CorrelatedNoise() = default;
  void AddIndependent(int64_t step, double weight, std::span<double> sum) const;

  Options options_;
  std::vector<double> inverse_;
  int64_t step_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_MATRIX_NOISE_H_
