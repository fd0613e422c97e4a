#include "common/adapter/nnls.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr double kTolerance = 1e-9;
// A column whose rest, after the columns in use, is a smaller share of it than this counts as a
// combination of them.
constexpr double kDependent = 1e-13;

class Solver {
 public:
  Solver(std::span<const double> gram, std::span<const double> target)
      : gram_(gram), target_(target), n_(target.size()), w_(n_, 0.0), refused_(n_, false) {
    for (const double value : target) tolerance_ = std::max(tolerance_, std::abs(value));
    tolerance_ *= kTolerance;
  }

  std::vector<double> Solve() {
    // In exact arithmetic no set of columns comes twice; the limit is for rounding.
    for (size_t step = 0; step < 10 * n_ + 10; ++step) {
      const size_t entering = Steepest();
      if (entering == n_) break;
      used_.push_back(entering);
      Descend();
      if (std::ranges::find(used_, entering) != used_.end()) {
        std::fill(refused_.begin(), refused_.end(), false);
      } else {
        refused_[entering] = true;  // until another column has made progress
      }
    }
    return w_;
  }

 private:
  double Gram(size_t i, size_t j) const { return gram_[i * n_ + j]; }

  // The unused column along which the error falls fastest; n_ if none.
  size_t Steepest() const {
    size_t best = n_;
    double steepest = tolerance_;
    for (size_t i = 0; i < n_; ++i) {
      if (refused_[i] || std::ranges::find(used_, i) != used_.end()) continue;
      double gradient = target_[i];
      for (const size_t j : used_) gradient -= Gram(i, j) * w_[j];
      if (gradient > steepest) {
        steepest = gradient;
        best = i;
      }
    }
    return best;
  }

  // Moves to the least squares solution over the columns in use, dropping those that would become
  // negative on the way, and the last one where it depends on the others.
  void Descend() {
    while (!used_.empty()) {
      std::vector<double> z;
      if (!SolveUsed(&z)) {
        w_[used_.back()] = 0;
        used_.pop_back();
        continue;
      }
      if (std::ranges::all_of(z, [](double value) { return value > 0; })) {
        for (size_t k = 0; k < used_.size(); ++k) w_[used_[k]] = z[k];
        return;
      }
      double share = std::numeric_limits<double>::infinity();
      size_t leaving = 0;
      for (size_t k = 0; k < used_.size(); ++k) {
        if (z[k] > 0) continue;
        const double w = w_[used_[k]];
        const double reach = w > 0 ? w / (w - z[k]) : 0;
        if (reach < share) {
          share = reach;
          leaving = k;
        }
      }
      for (size_t k = 0; k < used_.size(); ++k) w_[used_[k]] += share * (z[k] - w_[used_[k]]);
      w_[used_[leaving]] = 0;
      used_.erase(used_.begin() + static_cast<std::ptrdiff_t>(leaving));
    }
  }

  // Cholesky over the columns in use.  False if one depends on those before it.
  bool SolveUsed(std::vector<double>* z) const {
    const size_t m = used_.size();
    std::vector<double> l(m * m, 0.0);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        double sum = Gram(used_[i], used_[j]);
        for (size_t k = 0; k < j; ++k) sum -= l[i * m + k] * l[j * m + k];
        if (i != j) {
          l[i * m + j] = sum / l[j * m + j];
        } else if (sum <= kDependent * Gram(used_[i], used_[i])) {
          return false;
        } else {
          l[i * m + i] = std::sqrt(sum);
        }
      }
    }
    z->resize(m);
    for (size_t i = 0; i < m; ++i) {
      double sum = target_[used_[i]];
      for (size_t k = 0; k < i; ++k) sum -= l[i * m + k] * (*z)[k];
      (*z)[i] = sum / l[i * m + i];
    }
    for (size_t i = m; i-- > 0;) {
      double sum = (*z)[i];
      for (size_t k = i + 1; k < m; ++k) sum -= l[k * m + i] * (*z)[k];
      (*z)[i] = sum / l[i * m + i];
    }
    return true;
  }

  const std::span<const double> gram_, target_;
  const size_t n_;
  double tolerance_ = 0;
  std::vector<double> w_;
  std::vector<bool> refused_;
  std::vector<size_t> used_;  // in the order in which they entered; w_ is 0 elsewhere
};

}  // namespace

std::vector<double> NonNegativeLeastSquares(std::span<const double> gram,
                                            std::span<const double> target) {
  LORIKEET_CHECK(gram.size() == target.size() * target.size());
  return Solver(gram, target).Solve();
}

}  // namespace lorikeet
