#include "common/secagg/parameters.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

struct Row {
  int64_t clients;
  double corrupt, dropout;
  bool semi_malicious;
  int degree, threshold;
};

class ChooseGraphTest : public testing::TestWithParam<Row> {};

TEST_P(ChooseGraphTest, ReproducesReferenceRow) {
  const Row& row = GetParam();
  const auto chosen = ChooseGraph({.clients = row.clients,
                                   .corrupt_fraction = row.corrupt,
                                   .dropout_fraction = row.dropout,
                                   .semi_malicious = row.semi_malicious});
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  EXPECT_EQ(chosen->degree, row.degree);
  EXPECT_EQ(chosen->threshold, row.threshold);
  if (row.semi_malicious) {
    EXPECT_GT(2 * chosen->threshold, chosen->degree);
  }
}

// Rows of the unit test of Google's federated-compute
// (fcp/secagg/server/graph_parameter_finder_test.cc).
INSTANTIATE_TEST_SUITE_P(
    Published, ChooseGraphTest,
    testing::Values(Row{100, .45, .45, false, 92, 46}, Row{1000, .45, .45, false, 822, 417},
                    Row{10000, .45, .45, false, 3494, 1771},
                    Row{1000000, .45, .45, false, 6240, 3156}, Row{10, .33, .33, false, 8, 4},
                    Row{100, .33, .33, false, 68, 34}, Row{1000, .33, .33, false, 286, 150},
                    Row{10000, .33, .33, false, 422, 221}, Row{1000000, .33, .33, false, 518, 270},
                    Row{1000, .05, .33, false, 72, 24}, Row{1000, .05, .05, false, 30, 17},
                    Row{10, .33, .05, false, 4, 4}, Row{1000, .33, .05, false, 78, 60},
                    Row{1000000, .33, .05, false, 110, 83}, Row{1000, .05, .05, true, 52, 37},
                    Row{1000000, .05, .05, true, 74, 52}, Row{1000, .05, .33, true, 398, 223},
                    Row{1000, .33, .05, true, 132, 109}, Row{100, .3, .3, true, 92, 62},
                    Row{1000000, .3, .3, true, 11136, 7454}, Row{10, .05, .33, true, 8, 5},
                    Row{100, .33, .05, true, 42, 37}));

INSTANTIATE_TEST_SUITE_P(
    FivePerCentCorruptTenDropout, ChooseGraphTest,
    testing::Values(Row{100, .05, .1, false, 16, 6}, Row{100, .05, .1, true, 26, 16},
                    Row{1000, .05, .1, false, 36, 19}, Row{1000, .05, .1, true, 78, 52},
                    Row{10000, .05, .1, false, 42, 22}, Row{10000, .05, .1, true, 96, 64}));
INSTANTIATE_TEST_SUITE_P(
    TenPerCentCorruptTenDropout, ChooseGraphTest,
    testing::Values(Row{100, .1, .1, false, 22, 11}, Row{100, .1, .1, true, 32, 22},
                    Row{1000, .1, .1, false, 48, 27}, Row{1000, .1, .1, true, 96, 67},
                    Row{10000, .1, .1, false, 54, 31}, Row{10000, .1, .1, true, 122, 85}));
INSTANTIATE_TEST_SUITE_P(
    TenPerCentCorruptTwentyDropout, ChooseGraphTest,
    testing::Values(Row{100, .1, .2, false, 28, 11}, Row{100, .1, .2, true, 52, 32},
                    Row{1000, .1, .2, false, 66, 31}, Row{1000, .1, .2, true, 194, 124},
                    Row{10000, .1, .2, false, 78, 37}, Row{10000, .1, .2, true, 280, 179}));

TEST(ChooseGraphErrorsTest, ExplainsInfeasibleAndMalformedSettings) {
  const auto code = [](GraphRequest request) { return ChooseGraph(request).status().code(); };
  EXPECT_EQ(code({.clients = 1000, .corrupt_fraction = .33, .dropout_fraction = .33}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.clients = 1000,
                  .corrupt_fraction = .5,
                  .dropout_fraction = .45,
                  .semi_malicious = false}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.clients = 4, .corrupt_fraction = .3, .dropout_fraction = .3}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.clients = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.clients = 100, .corrupt_fraction = -0.1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.clients = 100, .corrupt_fraction = 0.0 / 0.0}),
            absl::StatusCode::kInvalidArgument);
}

TEST(CompleteGraphThresholdTest, TwoSetsOfHoldersShareAnHonestOne) {
  for (int n = 2; n <= 200; ++n) {
    for (double corrupt : {0.0, 0.1, 0.33}) {
      const int t = CompleteGraphThreshold(n, corrupt).value();
      const int bad = static_cast<int>(corrupt * n + 1e-9);
      EXPECT_LE(t, n);
      EXPECT_GT(2 * t - n, std::min(bad, n - 1)) << n << " " << corrupt;
    }
  }
  EXPECT_FALSE(CompleteGraphThreshold(1, 0).ok());
  EXPECT_FALSE(CompleteGraphThreshold(10, 1).ok());
}

}  // namespace
}  // namespace lorikeet
