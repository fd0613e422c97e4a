// Secure aggregation of cohorts up to 500 on the graphs that are chosen for them: whoever vanishes
// at whatever step, the sum is exactly that of the inputs that arrived.
//
// Every pattern of cohorts of 3 to 8 is in tests/unit/secagg/secagg_session_test.cc.
#include <algorithm>

#include "common/secagg/parameters.h"
#include "gtest/gtest.h"
#include "tests/unit/secagg/session_fixture.h"

namespace lorikeet {
namespace {

struct Case {
  int clients;
  uint64_t seed;
};

class SecAggPropertyTest : public testing::TestWithParam<Case> {
 protected:
  // 10 % of the clients vanish, each after a random number of steps; the others stay to the end.
  static SessionOptions RandomSession(const Case& c) {
    const GraphParameters graph =
        ChooseGraph({.clients = c.clients, .corrupt_fraction = .02, .dropout_fraction = .1})
            .value();
    Rng rng(c.seed);
    SessionOptions options;
    options.parameters = {.session = SessionNamed("property"),
                          .cohort_min = c.clients / 2,
                          .cohort_max = c.clients,
                          .degree = graph.degree,
                          .threshold = graph.threshold,
                          .dimension = int64_t{1} << rng.Below(9),  // inputs are padded to such
                          .modulus_bits = 16 + static_cast<int>(rng.Below(17))};
    options.seed = c.seed;
    options.steps.assign(static_cast<size_t>(c.clients), 5);
    for (int i = 0; i < c.clients / 10; ++i)
      options.steps[rng.Below(options.steps.size())] = static_cast<int>(rng.Below(5));
    return options;
  }
};

TEST_P(SecAggPropertyTest, SumIsExactWhoeverVanishes) {
  SessionOptions options = RandomSession(GetParam());
  ThreadPool pool(2);
  options.pool = &pool;
  const SessionResult result = RunSession(options);
  ASSERT_TRUE(result.sum.ok()) << result.sum.status() << " seed " << GetParam().seed;
  EXPECT_EQ(result.sum->sum, result.expected);
  EXPECT_EQ(result.sum->survivor_count, std::count_if(options.steps.begin(), options.steps.end(),
                                                      [](int s) { return s >= 3; }));
  EXPECT_TRUE(result.sum->blamed.empty());
}

INSTANTIATE_TEST_SUITE_P(RandomPatterns, SecAggPropertyTest,
                         testing::Values(Case{60, 1}, Case{61, 2}, Case{90, 3}, Case{120, 4},
                                         Case{150, 5}, Case{233, 6}, Case{500, 7}));

// The number of threads changes nothing, nor who is blamed for wrong shares.
TEST(SecAggThreadsTest, UnmaskingIsTheSameWithAnyNumberOfThreads) {
  const auto run = [](ThreadPool* pool) {
    SessionOptions options;
    options.parameters = {.session = SessionNamed("threads"),
                          .cohort_min = 20,
                          .cohort_max = 40,
                          .degree = 16,
                          .threshold = 10,
                          .dimension = 4096,
                          .modulus_bits = 24};
    options.steps.assign(40, 5);
    options.steps[3] = options.steps[17] = 2;
    options.pool = pool;
    int responses = 0;
    options.on_response = [responses](UnmaskResponse* response) mutable {
      if (++responses > 2) return;  // two liars
      for (RevealedShare& share : response->seed_shares) share.share[3] ^= 1;
    };
    return RunSession(options);
  };
  ThreadPool pool(4);
  const SessionResult alone = run(nullptr), together = run(&pool);
  ASSERT_TRUE(alone.sum.ok()) << alone.sum.status();
  ASSERT_TRUE(together.sum.ok()) << together.sum.status();
  EXPECT_EQ(alone.sum->sum, alone.expected);
  EXPECT_EQ(together.sum->sum, alone.sum->sum);
  EXPECT_EQ(together.sum->transcript, alone.sum->transcript);
  EXPECT_EQ(together.sum->blamed, alone.sum->blamed);
  EXPECT_EQ(alone.sum->blamed.size(), 2u);
}

}  // namespace
}  // namespace lorikeet
