#include "device/trainer/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

std::vector<Sequence> SequencesOfRows(const std::vector<int>& rows) {
  std::vector<Sequence> sequences;
  for (const int count : rows) {
    sequences.push_back({.tokens = std::vector<TokenId>(count + 1, 65), .loss_mask = {}});
  }
  return sequences;
}

std::vector<Sequence> ShortSequences(int count, uint64_t seed) {
  Rng rng(seed);
  std::vector<int> rows;
  for (int i = 0; i < count; ++i) rows.push_back(1 + static_cast<int>(rng.Below(60)));
  return SequencesOfRows(rows);
}

TEST(BatchRowsTest, EndsAtTheLastTokenThatCounts) {
  EXPECT_EQ(BatchRows({.tokens = {1, 2, 3, 4}, .loss_mask = {}}), 3);
  EXPECT_EQ(BatchRows({.tokens = {1, 2, 3, 4}, .loss_mask = {0, 1, 0, 0}}), 1);
  EXPECT_EQ(BatchRows({.tokens = {1, 2}, .loss_mask = {1, 0}}), 0);
  EXPECT_EQ(BatchRows({.tokens = {1}, .loss_mask = {}}), 0);
}

TEST(MakeWindowsTest, WithoutPackingEachSequenceIsAWindowInOrder) {
  const auto windows = MakeWindows(SequencesOfRows({5, 200, 1}), 0, 1);
  EXPECT_EQ(windows, (std::vector<Window>{{0}, {1}, {2}}));
}

TEST(MakeWindowsTest, EverySequenceIsInOneWindowAndNoneIsOverfull) {
  const std::vector<Sequence> sequences = ShortSequences(500, 3);
  const auto windows = MakeWindows(sequences, 64, 1);
  std::vector<size_t> seen;
  int64_t total = 0;
  for (const Window& window : windows) {
    EXPECT_FALSE(window.empty());
    EXPECT_LE(BatchRows(sequences, window), 64);
    total += BatchRows(sequences, window);
    seen.insert(seen.end(), window.begin(), window.end());
  }
  std::ranges::sort(seen);
  std::vector<size_t> all(sequences.size());
  std::iota(all.begin(), all.end(), size_t{0});
  EXPECT_EQ(seen, all);
  const int64_t least = (total + 63) / 64;
  EXPECT_LE(static_cast<int64_t>(windows.size()), least * 11 / 9 + 1);
}

TEST(MakeWindowsTest, FillsWhatIsLeftOfLongOnes) {
  // 60 + 4, 50 + 14, 40 + 24: three full windows, whatever the order.
  const std::vector<Sequence> sequences = SequencesOfRows({4, 24, 60, 14, 40, 50});
  const auto windows = MakeWindows(sequences, 64, 9);
  ASSERT_EQ(windows.size(), 3u);
  for (const Window& window : windows) EXPECT_EQ(BatchRows(sequences, window), 64);
}

TEST(MakeWindowsTest, ALongerSequenceStandsAlone) {
  const auto windows = MakeWindows(SequencesOfRows({100, 3, 4}), 64, 1);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[0], Window{0});
}

TEST(MakeWindowsTest, TheSeedDecidesAmongEquals) {
  const std::vector<Sequence> sequences = SequencesOfRows(std::vector<int>(40, 10));
  EXPECT_EQ(MakeWindows(sequences, 64, 1), MakeWindows(sequences, 64, 1));
  EXPECT_NE(MakeWindows(sequences, 64, 1), MakeWindows(sequences, 64, 2));
}

// Documents of a window do not see each other: their losses add up, and so do their gradients.
TEST(PackedWindowTest, HasTheLossAndGradientOfItsSequencesOneByOne) {
  const auto model = LoadTiny();
  ThreadPool pool(2);
  auto engine = GradientEngine::Create(model, &pool).value();
  const Adapter adapter = ActiveAdapter(*model, {.rank = 3});
  const std::vector<Sequence> packed = RandomSequences(4, 6, 11);
  std::vector<MatrixGradient> together, alone;
  const auto all = engine->Compute(adapter, {}, packed, &together);
  ASSERT_TRUE(all.ok()) << all.status();
  double loss_sum = 0;
  std::vector<float> expected(together[0].b.size(), 0.0f);
  for (const Sequence& sequence : packed) {
    const auto one = engine->Compute(adapter, {}, {&sequence, 1}, &alone);
    ASSERT_TRUE(one.ok()) << one.status();
    loss_sum += one->loss_sum;
    const auto share = static_cast<float>(one->weight_sum / all->weight_sum);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += share * alone[0].b[i];
  }
  EXPECT_NEAR(all->loss_sum, loss_sum, 1e-4);
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(together[0].b[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  EXPECT_GT(size, 0);
  EXPECT_LT(std::sqrt(error / size), 1e-4);
}

// 12 sequences of 9 tokens, 4 to a window of 32 rows, 1 window a step: 3 steps an epoch, not 12.
TEST(PackedTrainingTest, TakesFewerStepsOverTheSameTokens) {
  const auto model = LoadTiny();
  ThreadPool pool(1);
  const ManualClock clock;
  std::vector<Sequence> train;
  for (int i = 0; i < 12; ++i) train.push_back(RandomSequences(1, 9, i)[0]);
  TrainOptions options;
  options.epochs = 2;
  options.batch_size = 1;
  const auto run = [&] {
    return Train(model, &pool, clock, *MakeAdapter(*model, {.rank = 2}), {}, train, {}, options);
  };
  const auto apart = run();
  options.pack_rows = 32;
  const auto packed = run();
  const auto again = run();
  ASSERT_TRUE(apart.ok() && packed.ok() && again.ok()) << packed.status();
  EXPECT_EQ(apart->steps, 24);
  EXPECT_EQ(packed->steps, 6);
  EXPECT_EQ(packed->tokens, apart->tokens);
  EXPECT_EQ(packed->adapter.matrices[0].b, again->adapter.matrices[0].b);
  options.pack_rows = -1;
  EXPECT_EQ(run().status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
