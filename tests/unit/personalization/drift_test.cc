#include "device/personalization/drift.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

TEST(DriftTest, AnotherVoiceIsNoticedAndItsPersonaNamed) {
  const Drift drift =
      NoticeDrift(TwoPersonas(), "quiet", Private(QuietTexts(30)), Private(ShoutingTexts(20)));
  EXPECT_TRUE(drift.measured);
  EXPECT_TRUE(drift.noticed);
  EXPECT_GT(drift.distance, drift.chance);
  EXPECT_EQ(drift.closest, "shouting");
  EXPECT_LT(drift.closest_distance, drift.persona_distance);
  EXPECT_THAT(drift.words, HasSubstr("closest to shouting, while the adapter stands on quiet"));
  EXPECT_THAT(drift.words, HasSubstr("--reselect"));
}

TEST(DriftTest, TheSameVoiceIsNot) {
  const Drift drift =
      NoticeDrift(TwoPersonas(), "quiet", Private(QuietTexts(30)), Private(QuietTexts(12)));
  EXPECT_TRUE(drift.measured);
  EXPECT_FALSE(drift.noticed);
  EXPECT_THAT(drift.words, HasSubstr("sounds like the old"));
}

// Old text of two voices already: a new text in one of them is no news.
TEST(DriftTest, AVoiceAmongTheOldOnesIsNoNews) {
  std::vector<std::string> mixed = QuietTexts(15);
  for (const std::string& text : ShoutingTexts(15)) mixed.push_back(text);
  std::vector<std::string> again = QuietTexts(6);
  for (const std::string& text : ShoutingTexts(6)) again.push_back(text);
  EXPECT_FALSE(NoticeDrift(TwoPersonas(), "blend", Private(mixed), Private(again)).noticed);
}

TEST(DriftTest, ACatalogWithoutPersonasStillNotices) {
  const Drift drift =
      NoticeDrift(EmptyCatalog(), "base", Private(QuietTexts(30)), Private(ShoutingTexts(20)));
  EXPECT_TRUE(drift.noticed);
  EXPECT_EQ(drift.closest, "");
}

TEST(DriftTest, TooLittleTextIsNotMeasuredAndSaysSo) {
  const Drift drift =
      NoticeDrift(TwoPersonas(), "quiet", Private(QuietTexts(30)), Private({"ZAP!", "WOW!"}));
  EXPECT_FALSE(drift.measured);
  EXPECT_FALSE(drift.noticed);
  EXPECT_THAT(drift.words, HasSubstr("2 entries and 2 words of new text"));
  EXPECT_FALSE(NoticeDrift(TwoPersonas(), "quiet", {}, {}).measured);
}

}  // namespace
}  // namespace lorikeet
