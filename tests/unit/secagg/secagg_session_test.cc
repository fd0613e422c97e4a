// Exact sums under dropouts.
#include <algorithm>
#include <cmath>

#include "common/secagg/parameters.h"
#include "gtest/gtest.h"
#include "tests/unit/secagg/session_fixture.h"

namespace lorikeet {
namespace {

SessionOptions Complete(int clients, int threshold, int cohort_min) {
  SessionOptions options;
  options.parameters = {.session = SessionNamed("complete"),
                        .cohort_min = cohort_min,
                        .cohort_max = clients,
                        .degree = 0,
                        .threshold = threshold,
                        .dimension = 8,
                        .modulus_bits = 20};
  options.steps.assign(clients, 5);
  return options;
}

// Whether a session on a complete graph must succeed, from the number of clients that finished each
// step.
bool MustSucceed(const SessionOptions& o) {
  const auto finished = [&](int step) {
    return std::count_if(o.steps.begin(), o.steps.end(), [&](int steps) { return steps >= step; });
  };
  const int t = o.parameters.threshold, n_min = o.parameters.cohort_min;
  const auto n = finished(1);
  return n >= n_min && t <= n && 2 * t > n && finished(2) >= std::max(n_min, t) &&
         finished(3) >= std::max(n_min, t) && finished(4) >= t && finished(5) >= t;
}

void ExpectExactOrAborted(const SessionOptions& options) {
  const SessionResult result = RunSession(options);
  if (!MustSucceed(options)) {
    // Too few clients: no sum, whatever the step.  The last step may simply still be waiting.
    EXPECT_FALSE(result.sum.ok());
    EXPECT_TRUE(result.sum.status().code() == absl::StatusCode::kAborted ||
                result.sum.status().code() == absl::StatusCode::kFailedPrecondition)
        << result.sum.status();
    return;
  }
  ASSERT_TRUE(result.sum.ok()) << result.sum.status();
  EXPECT_EQ(result.sum->sum, result.expected);
  EXPECT_EQ(result.sum->survivor_count, std::count_if(options.steps.begin(), options.steps.end(),
                                                      [](int s) { return s >= 3; }));
  EXPECT_TRUE(result.sum->blamed.empty());
}

class DropoutPatternTest : public testing::TestWithParam<int> {};

// Every client vanishes after any number of steps, 0 to 5: all 6^n patterns up to the order of
// clients, whose keys decide their places anyway; the seed changes with the pattern.
TEST_P(DropoutPatternTest, SumIsExactForEveryPattern) {
  const int n = GetParam();
  SessionOptions options = Complete(n, CompleteGraphThreshold(n, 0).value(), 2);
  int patterns = 0, succeeded = 0;
  std::vector<int> steps(n, 0);
  for (;;) {
    options.steps = steps;
    options.seed = ++patterns;
    SCOPED_TRACE(testing::PrintToString(steps));
    ExpectExactOrAborted(options);
    succeeded += MustSucceed(options) ? 1 : 0;
    int i = 0;  // next non-decreasing sequence
    while (i < n && steps[i] == 5) ++i;
    if (i == n) break;
    const int value = steps[i] + 1;
    for (int j = 0; j <= i; ++j) steps[j] = value;
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(succeeded, 0);
}
INSTANTIATE_TEST_SUITE_P(Cohorts, DropoutPatternTest, testing::Values(3, 4, 5, 6, 7, 8));

TEST(SecAggSessionTest, EveryOrderedPatternOfThree) {
  SessionOptions options = Complete(3, 2, 2);
  for (int pattern = 0; pattern < 216; ++pattern) {
    options.steps = {pattern % 6, pattern / 6 % 6, pattern / 36};
    options.seed = 10000 + pattern;
    SCOPED_TRACE(pattern);
    ExpectExactOrAborted(options);
  }
}

TEST(SecAggSessionTest, EveryModulusWidth) {
  for (int bits = 8; bits <= 32; ++bits) {
    SessionOptions options = Complete(4, 3, 3);
    options.parameters.modulus_bits = bits;
    options.parameters.dimension = 4096;  // two chunks of mask expansion
    options.steps = {5, 2, 5, 5};
    SCOPED_TRACE(bits);
    ExpectExactOrAborted(options);
  }
}

// Random dropouts on a k-regular graph; 2^-20 or so is the design's failure probability for 10 % of
// dropouts.
TEST(SecAggSessionTest, RandomPatternsOnHararyGraphs) {
  Rng rng(7);
  for (int n : {30, 60, 120}) {
    const int degree = n == 30 ? 14 : 20, threshold = degree / 2 + 1;
    for (int trial = 0; trial < 4; ++trial) {
      SessionOptions options;
      options.parameters = {.session = SessionNamed("harary"),
                            .cohort_min = n / 2,
                            .cohort_max = n,
                            .degree = degree,
                            .threshold = threshold,
                            .dimension = 16,
                            .modulus_bits = 18};
      options.seed = 100 * n + trial;
      for (int i = 0; i < n; ++i)
        options.steps.push_back(rng.Uniform() < 0.9 ? 5 : static_cast<int>(rng.Below(5)));
      const SessionResult result = RunSession(options);
      ASSERT_TRUE(result.sum.ok()) << result.sum.status() << " n " << n << " trial " << trial;
      EXPECT_EQ(result.sum->sum, result.expected);
    }
  }
}

TEST(SecAggSessionTest, SameMessagesSameTranscript) {
  const SessionOptions options = Complete(5, 3, 3);
  const SessionResult one = RunSession(options), two = RunSession(options);
  ASSERT_TRUE(one.sum.ok() && two.sum.ok());
  EXPECT_EQ(one.sum->transcript, two.sum->transcript);
  SessionOptions other = options;
  other.seed = 2;
  EXPECT_NE(one.sum->transcript, RunSession(other).sum->transcript);
}

}  // namespace
}  // namespace lorikeet
