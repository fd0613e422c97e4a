#include "device/trainer/train_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TrainResult ResultOf(int steps) {
  TrainResult result;
  result.steps = steps;
  result.tokens = 100 * steps;
  result.tokens_per_second = 250;
  result.seconds = 0.4 * steps;
  result.working_set_bytes = 12'300'000;
  result.predicted_working_set_bytes = 12'000'000;
  result.joules = 42;
  result.parameters = 1234;
  result.stopped_because = "steps";
  for (int step = 1; step <= steps; ++step) {
    const double loss = 4.0 / std::sqrt(step);
    result.train_loss.push_back({step, loss});
    result.records.push_back({.step = step,
                              .loss = loss,
                              .learning_rate = 1e-3,
                              .gradient_norm = 0.5,
                              .tokens = 100,
                              .seconds = 0.4,
                              .tokens_per_second = 250,
                              .working_set_bytes = 12'000'000});
  }
  result.eval_loss = {{0, 4.2}, {steps, 3.1}};
  return result;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::string Page(const TrainResult& result, std::vector<std::string> warnings = {}) {
  return TrainReportPage({.title = "A run",
                          .facts = {{"model", "finch.gguf"}},
                          .warnings = std::move(warnings),
                          .result = &result,
                          .energy_source = "model"});
}

TEST(TrainReportTest, ShowsTheRunAndNeedsNothingElse) {
  const std::string page = Page(ResultOf(50));
  EXPECT_THAT(page, HasSubstr("50 steps over 5000 tokens in 20.0 s; it ended because all steps"));
  EXPECT_THAT(page, HasSubstr("4.2000 nats a token before and 3.1000 at its best, after step 50"));
  EXPECT_THAT(page, HasSubstr("<td>finch.gguf</td>"));
  EXPECT_THAT(page, HasSubstr("<td>1234</td>"));
  EXPECT_THAT(page, HasSubstr("<td>12.3 MB</td>"));
  EXPECT_THAT(page, HasSubstr("<td>12.0 MB</td>"));
  EXPECT_THAT(page, HasSubstr("<td>42.0 J (model)</td>"));
  EXPECT_EQ(Count(page, "<svg"), 5u);  // loss, rate, norm, speed, memory
  EXPECT_EQ(Count(page, "<svg"), Count(page, "</svg>"));
  EXPECT_THAT(page, HasSubstr("training, smoothed"));
  for (const char* outside : {"http:", "https:", "<script", "<link", "src=", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
}

TEST(TrainReportTest, ASingleStepIsADot) {
  const std::string page = Page(ResultOf(1));
  EXPECT_THAT(page, HasSubstr("1 step over 100 tokens"));
  EXPECT_THAT(page, HasSubstr("<circle"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("smoothed")));
}

TEST(TrainReportTest, NoStepAtAllIsStillAPage) {
  TrainResult result;
  result.stopped_because = "cancelled";
  const std::string page = Page(result);
  EXPECT_THAT(page, HasSubstr("0 steps over 0 tokens"));
  EXPECT_THAT(page, HasSubstr("it was told to stop"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
}

TEST(TrainReportTest, EverythingIsEscaped) {
  const TrainResult result = ResultOf(2);
  const std::string page = TrainReportPage({.title = "<b>&\"t\"",
                                            .facts = {{"<i>", "a<script>b"}},
                                            .warnings = {"x < y & z"},
                                            .result = &result,
                                            .energy_source = "<u>"});
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;&amp;&quot;t&quot;"));
  EXPECT_THAT(page, HasSubstr("a&lt;script&gt;b"));
  EXPECT_THAT(page, HasSubstr("x &lt; y &amp; z"));
  for (const char* raw : {"<b>", "<i>", "<script", "<u>"}) EXPECT_THAT(page, Not(HasSubstr(raw)));
}

TEST(TrainReportTest, WarnsOfWhatTheOwnerShouldKnow) {
  TrainResult result = ResultOf(20);
  EXPECT_THAT(Page(result), Not(HasSubstr("class=\"note\"")));
  EXPECT_THAT(Page(result, {"nothing held out"}), HasSubstr("<p class=\"note\">nothing held out"));
  result.eval_loss = {{0, 3.0}, {10, 2.5}, {20, 2.8}};
  EXPECT_THAT(Page(result), HasSubstr("lowest after step 10 and rose"));
  result.eval_loss = {{0, 3.0}, {20, 3.5}};
  EXPECT_THAT(Page(result), HasSubstr("did not lower"));
  result.eval_loss.clear();
  EXPECT_THAT(Page(result), HasSubstr("No text was held out"));
  result.predicted_working_set_bytes = 6'000'000;
  EXPECT_THAT(Page(result), HasSubstr("105% more than predicted"));
  result.stopped_because = "non-finite";
  result.failure = "step 21: blk.0.attn_q.weight is not finite";
  EXPECT_THAT(Page(result), HasSubstr("It stopped at step 21: blk.0.attn_q.weight"));
}

TEST(TrainReportTest, LongRunsAreThinnedAndOddNumbersLeftOut) {
  TrainResult result = ResultOf(20000);
  result.train_loss[5].loss = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 9000; ++i) result.records[i].seconds = 0;  // before a resume
  const std::string page = Page(result);
  EXPECT_LT(page.size(), 120'000u);
  EXPECT_THAT(page, Not(HasSubstr("inf")));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
}

TEST(SmoothedTest, IsAMeanThatForgets) {
  const auto smooth = Smoothed({{1, 2.0}, {2, 2.0}, {3, 8.0}}, 1.0);
  ASSERT_EQ(smooth.size(), 3u);
  EXPECT_DOUBLE_EQ(smooth[1].loss, 2.0);
  const double e = std::exp(-1.0);
  EXPECT_NEAR(smooth[2].loss, (8 + 2 * e + 2 * e * e) / (1 + e + e * e), 1e-12);
  EXPECT_EQ(smooth[2].step, 3);
}

TEST(DescribeRanksTest, NamesWhatDiffers) {
  const auto model = LoadTiny();
  const auto describe = [&](const char* ranks) {
    return DescribeRanks(*MakeAdapter(*model, *ParseAdapterSpec(ranks, "all")));
  };
  EXPECT_EQ(describe("4"), "4 on all matrices");
  EXPECT_EQ(describe("q=4,v=4"), "4 on q, v");
  EXPECT_EQ(describe("q=4,v=4,down=6"), "4 on q, v; 6 on down");
}

}  // namespace
}  // namespace lorikeet
