#include "common/adapter/explanation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "common/base/strings.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Four channels, three words: "wet" and "dry" opposite, "loud" at 45 degrees to channels 1 and 2.
ExplanationAxes Axes() {
  const float half = std::sqrt(0.5f);
  return {.words = {"wet", "dry", "loud"},
          .width = 4,
          .neutral_mean = {1, 2, 3, 4},
          .neutral_spread = {1, 2, 0.5f, 1},
          .directions = {1, 0, 0, 0, -1, 0, 0, 0, 0, half, half, 0}};
}

TEST(ExplanationTest, WritesADifferenceInWords) {
  const ExplanationAxes axes = Axes();
  // 3 spreads drier in channel 0; 2 spreads up in channels 1 and 2; the rest in channel 3.
  const auto explanation = Decompose(axes, std::vector<float>{-2, 6, 4, 5});
  ASSERT_TRUE(explanation.ok()) << explanation.status();
  // Divided by sqrt(4): root mean square over the channels.
  EXPECT_NEAR(explanation->weights[0], 0, 1e-9);
  EXPECT_NEAR(explanation->weights[1], 1.5, 1e-6);
  EXPECT_NEAR(explanation->weights[2], std::sqrt(2.0), 1e-6);
  EXPECT_NEAR(explanation->residual, std::sqrt(1.0 / 18.0), 1e-6);
  EXPECT_THAT(StrongestWords(explanation->weights, 2, 0), ElementsAre(1, 2));
  EXPECT_THAT(StrongestWords(explanation->weights, 9, 1.45), ElementsAre(1));
}

TEST(ExplanationTest, NothingToSayIsAllResidual) {
  const ExplanationAxes axes = Axes();
  const auto neutral = Decompose(axes, axes.neutral_mean);
  EXPECT_THAT(neutral->weights, ElementsAre(0, 0, 0));
  EXPECT_EQ(neutral->residual, 1);
  const auto unnamed = Decompose(axes, std::vector<float>{1, 2, 3, 9});
  EXPECT_THAT(unnamed->weights, ElementsAre(0, 0, 0));
  EXPECT_EQ(unnamed->residual, 1);
  EXPECT_TRUE(StrongestWords(unnamed->weights, 3, 0).empty());
}

TEST(ExplanationTest, DistanceIsL1) {
  EXPECT_DOUBLE_EQ(ExplanationDistance({.weights = {1, 0, 2}}, {.weights = {0.5, 1, 2}}), 1.5);
  EXPECT_DOUBLE_EQ(ExplanationDistance({}, {}), 0);
}

TEST(ExplanationTest, RefusesAnotherWidthAndNonFiniteStates) {
  const auto wide = Decompose(Axes(), std::vector<float>(5, 0.0f)).status();
  EXPECT_EQ(wide.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(wide)), HasSubstr("expected 4"));
  EXPECT_FALSE(Decompose(Axes(), std::vector<float>{0, 0, std::nanf(""), 0}).ok());
}

TEST(ExplanationTest, ChecksAxes) {
  EXPECT_TRUE(CheckExplanationAxes(Axes()).ok());
  EXPECT_TRUE(CheckExplanationAxes({}).ok());
  const auto refused = [](const std::function<void(ExplanationAxes&)>& change, const char* what) {
    ExplanationAxes axes = Axes();
    change(axes);
    const absl::Status status = CheckExplanationAxes(axes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(Message(status)), HasSubstr(what));
  };
  refused([](ExplanationAxes& a) { a.words[1] = "wet"; }, "wet comes twice");
  refused([](ExplanationAxes& a) { a.words[1] = ""; }, "letters");
  refused([](ExplanationAxes& a) { a.words[1] = "\x1b[2Jboo"; }, "of 7 bytes");
  refused([](ExplanationAxes& a) { a.words[1] = std::string(33, 'a'); }, "of 33 bytes");
  refused([](ExplanationAxes& a) { a.words.pop_back(); },
          "expected 8 values of directions, got 12");
  refused([](ExplanationAxes& a) { a.words.clear(); }, "no words");
  refused([](ExplanationAxes& a) { a.width = 0; }, "width");
  refused([](ExplanationAxes& a) { a.width = -4; }, "width");
  refused([](ExplanationAxes& a) { a.neutral_mean.pop_back(); }, "neutral mean, got 3");
  refused([](ExplanationAxes& a) { a.neutral_spread[2] = 0; }, "positive");
  refused([](ExplanationAxes& a) { a.neutral_spread[2] = std::numeric_limits<float>::infinity(); },
          "finite");
  refused([](ExplanationAxes& a) { a.directions[0] = 1.01f; }, "length 1 for wet");
  refused([](ExplanationAxes& a) { a.directions[3] = std::nanf(""); }, "finite");
  refused(
      [](ExplanationAxes& a) {
        a.words.clear();
        for (int i = 0; i < 129; ++i) a.words.push_back(std::string(1 + i % 30, 'a'));
      },
      "at most 128 words, got 129");
}

TEST(ExplanationTest, KnowsWords) {
  EXPECT_TRUE(IsExplanationWord("matter-of-fact"));
  for (const char* bad : {"", "-", "-wet", "wet-", "Wet", "w t", "wét", "wet1"}) {
    EXPECT_FALSE(IsExplanationWord(bad)) << bad;
  }
}

}  // namespace
}  // namespace lorikeet
