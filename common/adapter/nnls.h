// Non-negative least squares by active sets (Lawson and Hanson, Solving Least Squares Problems,
// 1974, chapter 23), for few unknowns and given as normal equations.
//
// Not for large or sparse problems: every step factors the Gram matrix of the unknowns in use.
#ifndef LORIKEET_COMMON_ADAPTER_NNLS_H_
#define LORIKEET_COMMON_ADAPTER_NNLS_H_

#include <span>
#include <vector>

namespace lorikeet {

// The w >= 0 that minimizes |A w - b|, given gram = A^T A [n, n] (row-major, symmetric) and
// target = A^T b [n].  Columns of A that depend on each other are allowed; of several solutions one
// is returned, always the same.  At the solution the gradient g = target - gram w is 0 where w > 0
// and at most 0 where w = 0, to 1e-6 of the largest |target|. REQUIRES: gram.size() ==
// target.size()^2, all values finite.
std::vector<double> NonNegativeLeastSquares(std::span<const double> gram,
                                            std::span<const double> target);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_NNLS_H_
