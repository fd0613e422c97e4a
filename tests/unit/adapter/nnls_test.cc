#include "common/adapter/nnls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace lorikeet {
namespace {

struct Problem {
  size_t rows = 0, columns = 0;
  std::vector<double> a;  // [rows, columns]
  std::vector<double> b;  // [rows]

  std::vector<double> Gram() const {
    std::vector<double> gram(columns * columns, 0.0);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < columns; ++i) {
        for (size_t j = 0; j < columns; ++j) {
          gram[i * columns + j] += a[r * columns + i] * a[r * columns + j];
        }
      }
    }
    return gram;
  }
  std::vector<double> Target() const {
    std::vector<double> target(columns, 0.0);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < columns; ++i) target[i] += a[r * columns + i] * b[r];
    }
    return target;
  }
  double Squares(const std::vector<double>& w) const {
    double sum = 0;
    for (size_t r = 0; r < rows; ++r) {
      double rest = b[r];
      for (size_t i = 0; i < columns; ++i) rest -= a[r * columns + i] * w[i];
      sum += rest * rest;
    }
    return sum;
  }
};

Problem RandomProblem(std::mt19937_64& random, size_t rows, size_t columns) {
  std::normal_distribution<double> normal;
  Problem problem{.rows = rows, .columns = columns, .a = {}, .b = {}};
  for (size_t i = 0; i < rows * columns; ++i) problem.a.push_back(normal(random));
  for (size_t i = 0; i < rows; ++i) problem.b.push_back(normal(random));
  return problem;
}

// The conditions of Karush, Kuhn and Tucker: they hold at the solution of this convex problem and
// nowhere else.
void ExpectOptimal(const Problem& problem, const std::vector<double>& w) {
  const std::vector<double> gram = problem.Gram(), target = problem.Target();
  double scale = 0;
  for (const double value : target) scale = std::max(scale, std::abs(value));
  ASSERT_EQ(w.size(), problem.columns);
  for (size_t i = 0; i < w.size(); ++i) {
    EXPECT_GE(w[i], 0);
    double gradient = target[i];
    for (size_t j = 0; j < w.size(); ++j) gradient -= gram[i * w.size() + j] * w[j];
    EXPECT_LE(gradient, 1e-6 * scale) << i;
    if (w[i] > 0) {
      EXPECT_GE(gradient, -1e-6 * scale) << i;
    }
  }
}

TEST(NnlsTest, MeetsTheOptimalityConditionsOnRandomProblems) {
  std::mt19937_64 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    const size_t columns = 1 + random() % 40, rows = 1 + random() % 60;  // often dependent columns
    const Problem problem = RandomProblem(random, rows, columns);
    ExpectOptimal(problem, NonNegativeLeastSquares(problem.Gram(), problem.Target()));
  }
}

TEST(NnlsTest, NoPointOfAGridIsBetter) {
  std::mt19937_64 random(8);
  for (int trial = 0; trial < 20; ++trial) {
    const Problem problem = RandomProblem(random, 6, 3);
    const double mine = problem.Squares(NonNegativeLeastSquares(problem.Gram(), problem.Target()));
    double best = problem.Squares({0, 0, 0});
    for (int x = 0; x < 30; ++x) {
      for (int y = 0; y < 30; ++y) {
        for (int z = 0; z < 30; ++z) {
          best = std::min(best, problem.Squares({0.05 * x, 0.05 * y, 0.05 * z}));
        }
      }
    }
    EXPECT_LE(mine, best + 1e-12);
    EXPECT_GT(mine, best - 0.5) << "the grid is coarse, not far off";
  }
}

TEST(NnlsTest, FindsWhatWasMixed) {
  std::mt19937_64 random(9);
  Problem problem = RandomProblem(random, 50, 8);
  const std::vector<double> mixed = {0, 0.5, 0, 2, 0, 0, 0.1, 0};
  for (size_t r = 0; r < problem.rows; ++r) {
    problem.b[r] = 0;
    for (size_t i = 0; i < mixed.size(); ++i) problem.b[r] += problem.a[r * 8 + i] * mixed[i];
  }
  const std::vector<double> w = NonNegativeLeastSquares(problem.Gram(), problem.Target());
  for (size_t i = 0; i < mixed.size(); ++i) EXPECT_NEAR(w[i], mixed[i], 1e-9) << i;
}

TEST(NnlsTest, ColumnsMayBeOppositeEqualOrNothing) {
  // Columns: u, -u, u again, 0, v.  One of the pair is used; the sum over u's copies is what
  // counts.
  const Problem problem{
      .rows = 2, .columns = 5, .a = {1, -1, 1, 0, 0, 0, 0, 0, 0, 1}, .b = {-3, 2}};
  const std::vector<double> w = NonNegativeLeastSquares(problem.Gram(), problem.Target());
  EXPECT_EQ(w, (std::vector<double>{0, 3, 0, 0, 2}));
  Problem other = problem;
  other.b = {4, -1};
  const std::vector<double> copies = NonNegativeLeastSquares(other.Gram(), other.Target());
  EXPECT_DOUBLE_EQ(copies[0] + copies[2], 4);
  EXPECT_EQ(copies[1], 0);
  EXPECT_EQ(copies[4], 0);
  EXPECT_TRUE(NonNegativeLeastSquares({}, {}).empty());
}

}  // namespace
}  // namespace lorikeet
