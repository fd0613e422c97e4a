#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "simulations/selection/calibration.h"
#include "simulations/selection/experiment_report.h"
#include "simulations/selection/experiment_tables.h"
#include "simulations/selection/intervals.h"
#include "simulations/selection/loss_cache.h"
#include "simulations/selection/selection_texts.h"
#include "simulations/selection/trials.h"

namespace lorikeet {
namespace {

// Published values: 10 of 10 is 72.2 % to 100 %, 50 of 100 is 40.4 % to 59.6 %.
TEST(IntervalsTest, WilsonGivesPublishedValues) {
  EXPECT_NEAR(WilsonInterval(10, 10).low, 0.7225, 1e-4);
  EXPECT_NEAR(WilsonInterval(10, 10).high, 1.0, 1e-9);
  EXPECT_NEAR(WilsonInterval(50, 100).low, 0.4038, 1e-4);
  EXPECT_NEAR(WilsonInterval(50, 100).high, 0.5962, 1e-4);
  EXPECT_NEAR(WilsonInterval(0, 20).high, 0.1611, 1e-4);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
}

TEST(IntervalsTest, ClustersThatAgreeWidenTheInterval) {
  std::vector<Cluster> alike(20, {.successes = 5, .trials = 10});
  const Interval none = ClusterBootstrap(alike, 1);
  EXPECT_DOUBLE_EQ(none.low, 0.5);
  EXPECT_DOUBLE_EQ(none.high, 0.5);
  std::vector<Cluster> split;
  for (int i = 0; i < 20; ++i) split.push_back({.successes = i % 2 == 0 ? 10 : 0, .trials = 10});
  const Interval wide = ClusterBootstrap(split, 1);
  const Interval wilson = WilsonInterval(100, 200);
  EXPECT_LT(wide.low, wilson.low);
  EXPECT_GT(wide.high, wilson.high);
  EXPECT_EQ(wide.low, ClusterBootstrap(split, 1).low);
}

TEST(IntervalsTest, DifferenceIsPaired) {
  std::vector<Cluster> a, b;
  for (int i = 0; i < 20; ++i) {
    a.push_back({.successes = i % 2 == 0 ? 10 : 2, .trials = 10});
    b.push_back({.successes = i % 2 == 0 ? 9 : 1, .trials = 10});
  }
  const Interval difference = ClusterBootstrapDifference(a, b, 3);
  EXPECT_NEAR(difference.low, 0.1, 1e-9);
  EXPECT_NEAR(difference.high, 0.1, 1e-9);
}

TEST(CalibrationTest, BinsAndExpectedErrorOfOneKindOfChoice) {
  std::vector<ConfidenceSample> samples;
  const auto add = [&](int count, double confidence, int right) {
    for (int i = 0; i < count; ++i) {
      samples.push_back({.persona = true, .confidence = confidence, .right = i < right});
    }
  };
  add(10, 0.95, 9);
  add(10, 0.55, 3);
  add(1, 1.0, 1);
  samples.push_back({.persona = false, .confidence = 0.55, .right = true});
  const auto bins = Reliability(samples, /*persona=*/true);
  ASSERT_EQ(bins.size(), 10u);
  EXPECT_EQ(bins[9].right.trials, 11);
  EXPECT_NEAR(bins[9].accuracy(), 10.0 / 11, 1e-9);
  EXPECT_EQ(bins[5].right.trials, 10);
  EXPECT_NEAR(bins[5].confidence, 0.55, 1e-9);
  const double last = std::abs((9.5 + 1) / 11 - 10.0 / 11);
  EXPECT_NEAR(ExpectedCalibrationError(bins), (11 * last + 10 * 0.25) / 21, 1e-9);
  EXPECT_EQ(Reliability(samples, /*persona=*/false)[5].right.successes, 1);
  EXPECT_EQ(ExpectedCalibrationError({}), 0);
}

TEST(PublishedTest, XpertAndTargetsByExactSimilarity) {
  EXPECT_EQ(XpertAccuracy(0.5), 0.536);
  EXPECT_EQ(XpertAccuracy(0.55), std::nullopt);
  EXPECT_EQ(TargetAccuracy(0.9), 0.97);
  EXPECT_EQ(TargetAccuracy(0.3), std::nullopt);
}

TEST(TablesTest, ColumnsAlignByCharacters) {
  const auto lines =
      TableLines({.title = "t", .header = {"a", "b"}, .rows = {{"é", "1"}, {"long", "2"}}});
  EXPECT_EQ(lines, (std::vector<std::string>{"t", "  a     b", "  é     1", "  long  2"}));
}

// Losses that name candidate and document, and a count of what was asked.
class CountingSource : public LossSource {
 public:
  absl::StatusOr<std::vector<std::vector<DocumentLoss>>> Measure(
      std::span<const LossCandidate> candidates, std::span<const Sequence> documents) override {
    ++calls;
    std::vector<std::vector<DocumentLoss>> losses;
    for (const LossCandidate& candidate : candidates) {
      auto& line = losses.emplace_back();
      for (const Sequence& document : documents) {
        ++pairs;
        const double add = candidate.empty() ? 0 : candidate[0].adapter->matrices[0].core[0];
        line.push_back({.nats = document.tokens[0] + add, .tokens = 1});
      }
    }
    return losses;
  }
  int calls = 0;
  int pairs = 0;
};

Adapter OneMatrix(float core) {
  Adapter adapter;
  adapter.matrices.push_back({.target = {},
                              .rank = 1,
                              .in_features = 1,
                              .out_features = 1,
                              .a = {1},
                              .b = {1},
                              .core = {core}});
  return adapter;
}

TEST(LossCacheTest, MeasuresEachPairOnce) {
  CountingSource source;
  LossCache cache(&source);
  const Adapter half = OneMatrix(0.5f);
  const std::vector<LossCandidate> both = {{}, {{.adapter = &half}}};
  const std::vector<Sequence> documents = {{.tokens = {1, 2}, .loss_mask = {}},
                                           {.tokens = {7, 2}, .loss_mask = {}}};
  ASSERT_TRUE(cache.Measure(both, std::span(documents).first(1)).ok());
  EXPECT_EQ(source.pairs, 2);
  const auto losses = cache.Measure(both, documents);
  ASSERT_TRUE(losses.ok());
  EXPECT_EQ(source.pairs, 4);
  EXPECT_EQ((*losses)[0][1].nats, 7);
  EXPECT_EQ((*losses)[1][0].nats, 1.5);
  ASSERT_TRUE(cache.Measure(both, documents).ok());
  EXPECT_EQ(source.calls, 2);
  EXPECT_EQ(cache.measured(), 4);
  EXPECT_EQ(cache.asked(), 10);
}

TEST(LossCacheTest, KnowsWeightsNotAddresses) {
  CountingSource source;
  LossCache cache(&source);
  const std::vector<Sequence> documents = {{.tokens = {1, 2}, .loss_mask = {}}};
  for (float core : {0.5f, 0.5f, 0.25f}) {
    const Adapter adapter = OneMatrix(core);
    const std::vector<LossCandidate> one = {{{.adapter = &adapter}}};
    const auto losses = cache.Measure(one, documents);
    ASSERT_TRUE(losses.ok());
    EXPECT_EQ((*losses)[0][0].nats, 1 + core);
  }
  EXPECT_EQ(source.pairs, 2);
  const Adapter adapter = OneMatrix(0.5f);
  ASSERT_TRUE(
      cache.Measure(std::vector<LossCandidate>{{{.adapter = &adapter, .scale = 2}}}, documents)
          .ok());
  EXPECT_EQ(source.pairs, 3);
}

TEST(TrialsTest, SimilarityIsTheShareOfOwnDocumentsAndDrawsNest) {
  std::vector<OwnerDocument> own(50), neutral(50);
  int own_at_50 = 0, own_at_90 = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const TrialDraw draw(std::to_string(trial), 1, 20, own.size(), neutral.size());
    const Owner half = draw.Take(own, neutral, 0.5, 20);
    const Owner most = draw.Take(own, neutral, 0.9, 20);
    const Owner few = draw.Take(own, neutral, 0.5, 5);
    for (size_t i = 0; i < 20; ++i) {
      const auto is_own = [&](const Owner& owner) {
        return owner.examples[i] >= own.data() && owner.examples[i] < own.data() + own.size();
      };
      own_at_50 += is_own(half) ? 1 : 0;
      own_at_90 += is_own(most) ? 1 : 0;
      if (is_own(half)) {
        EXPECT_EQ(half.examples[i], most.examples[i]);
      }
      if (i < 5) {
        EXPECT_EQ(half.examples[i], few.examples[i]);
      }
    }
  }
  // 4000 draws: five standard errors are 0.04.
  EXPECT_NEAR(own_at_50 / 4000.0, 0.5, 0.04);
  EXPECT_NEAR(own_at_90 / 4000.0, 0.9, 0.03);
}

TEST(TrialsTest, DocumentsRepeatOnlyWhenThereAreTooFew) {
  std::vector<OwnerDocument> own(12);
  const TrialDraw draw("x", 1, 12, own.size(), own.size());
  Owner owner = draw.Take(own, own, 1.0, 12);
  std::ranges::sort(owner.examples);
  EXPECT_EQ(std::ranges::adjacent_find(owner.examples), owner.examples.end());
}

TEST(TrialsTest, BlendSeedKeepsAShare) {
  const std::vector<std::string> seed(400, "own"), neutral = {"neutral"};
  const auto blend = BlendSeed(seed, neutral, 0.7, "x", 1);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(blend, "own")) / 400, 0.7, 0.12);
  EXPECT_EQ(blend, BlendSeed(seed, neutral, 0.7, "x", 1));
}

class SelectionTextsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "selection_texts";
    std::filesystem::create_directories(folder_ / "people");
    Write("public.txt", "Neutral text one.\n\nNeutral text two.\n\nNeutral text three.\n");
    Write("people/maya.txt", "hello from another set\n\nand again hello\n");
    options_.demo = folder_.string();
    options_.personas = 2;
  }
  std::string Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name) << content;
    return (folder_ / name).string();
  }
  std::filesystem::path folder_;
  SelectionTextOptions options_;
};

TEST_F(SelectionTextsTest, SyntheticNeedsNoFiles) {
  const auto texts = ReadSelectionTexts(options_);
  ASSERT_TRUE(texts.ok()) << texts.status();
  ASSERT_EQ(texts->personas.size(), 2u);
  EXPECT_EQ(texts->personas[0].seed.size(), 120u);
  EXPECT_EQ(texts->neutral_owner.size(), 160u);
  ASSERT_EQ(texts->strangers.size(), 2u);
  EXPECT_EQ(texts->strangers[1].name, "maya");
}

TEST_F(SelectionTextsTest, LargestUsersAreThePersonas) {
  std::string lines;
  const auto add = [&](const char* user, const char* split, const std::string& text) {
    lines += R"({"user":")" + std::string(user) + R"(","split":")" + split + R"(","text":")" +
             text + "\"}\n";
  };
  add("small", "train", "short text");
  add("small", "test", "short test");
  for (const char* user : {"Big One", "big/two"}) {
    add(user, "train", std::string(60, 'a') + " " + user);
    add(user, "test", "held out of " + std::string(user));
    add(user, "test_other_work", "another work by them");
  }
  options_.data = Write("samples.jsonl", lines);
  const auto texts = ReadSelectionTexts(options_);
  ASSERT_TRUE(texts.ok()) << texts.status();
  EXPECT_EQ(texts->personas[0].id, "big-one");
  EXPECT_EQ(texts->personas[1].id, "big-two");
  EXPECT_EQ(texts->personas[0].held_out, std::vector<std::string>{"held out of Big One"});
  EXPECT_EQ(texts->strangers[0].name, "small");
  EXPECT_EQ(texts->strangers[0].kind, "other people of the set");
  options_.other_work = true;
  EXPECT_EQ(ReadSelectionTexts(options_)->personas[0].held_out.size(), 2u);
}

TEST_F(SelectionTextsTest, SaysWhatIsWrongWithData) {
  options_.data =
      Write("bad.jsonl", "{\"user\":\"a\",\"split\":\"train\",\"text\":\"long text\"}\n{}\n");
  const auto bad = ReadSelectionTexts(options_);
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(bad.status().message().find("line 2"), absl::string_view::npos);
  options_.data =
      Write("few.jsonl", "{\"user\":\"a\",\"split\":\"train\",\"text\":\"long text\"}\n");
  EXPECT_NE(ReadSelectionTexts(options_).status().message().find("at least 2 users, found 1"),
            absl::string_view::npos);
  options_.data = (folder_ / "absent.jsonl").string();
  EXPECT_EQ(ReadSelectionTexts(options_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace lorikeet
