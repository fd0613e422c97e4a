#include "device/personalization/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/base/strings.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

TextSplit SplitOf(const std::vector<std::string>& texts) {
  return SplitText(*LoadTinyModel(), {.documents = Private(texts), .judge = {}}).value();
}

TEST(SelectorTest, ChoosesTheVoiceAndSaysWhy) {
  const Catalog catalog = TwoPersonas();
  for (const bool shouting : {true, false}) {
    const TextSplit split = SplitOf(shouting ? ShoutingTexts(24) : QuietTexts(24));
    const auto selection = Select(LoadTinyModel(), TestPool(), catalog, split, {});
    ASSERT_TRUE(selection.ok()) << selection.status();
    const std::string expected = shouting ? "shouting" : "quiet";
    EXPECT_EQ(selection->chosen, expected);
    ASSERT_EQ(selection->weights.size(), 1u);
    EXPECT_EQ(selection->weights[0].index, catalog.FindPersona(expected));
    EXPECT_EQ(selection->ranked[0].id, expected);
    EXPECT_GT(selection->ranked[0].score, 0);
    EXPECT_THAT(selection->reason, HasSubstr(expected));
    EXPECT_THAT(selection->reason, HasSubstr("held-out loss"));
    EXPECT_GT(selection->confidence, 0.95);
    EXPECT_GT(selection->tokens_scored, 0);
  }
}

TEST(SelectorTest, TheBaseWinsWhenNothingFits) {
  Catalog catalog = TwoPersonas();
  // Personas whose cores do nothing: no gain over the base, however close the style.
  for (Persona& persona : catalog.personas) std::ranges::fill(persona.cores, 0.0f);
  const auto selection =
      Select(LoadTinyModel(), TestPool(), catalog, SplitOf(ShoutingTexts(24)), {});
  ASSERT_TRUE(selection.ok()) << selection.status();
  EXPECT_EQ(selection->chosen, "base");
  EXPECT_TRUE(selection->weights.empty());
  EXPECT_THAT(selection->reason, HasSubstr("no persona fits"));
}

TEST(SelectorTest, PersonasThatHarmLoseEarlyAndTheReasonSaysSo) {
  Catalog catalog = TwoPersonas();
  for (Persona& persona : catalog.personas) {
    for (float& value : persona.cores) value = -value;
  }
  const auto selection =
      Select(LoadTinyModel(), TestPool(), catalog, SplitOf(ShoutingTexts(40)), {});
  ASSERT_TRUE(selection.ok()) << selection.status();
  EXPECT_EQ(selection->chosen, "base");
  EXPECT_THAT(selection->reason, HasSubstr("but the base predicts you clearly better, so"));
  EXPECT_LT(selection->ranked.back().score, 0);
}

TEST(SelectorTest, AFarStyleDoesNotFitHoweverTheLossLooks) {
  SelectOptions options;
  options.max_style_distance = -1;  // nothing is near enough
  const auto selection =
      Select(LoadTinyModel(), TestPool(), TwoPersonas(), SplitOf(ShoutingTexts(24)), options);
  ASSERT_TRUE(selection.ok()) << selection.status();
  EXPECT_EQ(selection->chosen, "base");
  EXPECT_THAT(selection->reason, HasSubstr("too far"));
}

TEST(SelectorTest, PersonasBeyondTheFewestAreRankedByStyleOnly) {
  SelectOptions options;
  options.candidate_count = 1;
  const auto selection =
      Select(LoadTinyModel(), TestPool(), TwoPersonas(), SplitOf(ShoutingTexts(24)), options);
  ASSERT_TRUE(selection.ok()) << selection.status();
  ASSERT_EQ(selection->ranked.size(), 3u);
  EXPECT_EQ(selection->ranked.back().id, "quiet");
  EXPECT_FALSE(selection->ranked.back().held_out_loss.has_value());
  EXPECT_TRUE(selection->ranked.back().style_distance.has_value());
}

TEST(SelectorTest, WorksWithoutPersonasAndRefusesAnotherBase) {
  const TextSplit split = SplitOf(ShoutingTexts(24));
  const auto empty = Select(LoadTinyModel(), TestPool(), EmptyCatalog(), split, {});
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(empty->chosen, "base");
  Catalog other = EmptyCatalog();
  other.base_fingerprint = std::string(64, '0');
  const auto status = Select(LoadTinyModel(), TestPool(), other, split, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(status)), HasSubstr(LoadTinyModel()->fingerprint()));
}

}  // namespace
}  // namespace lorikeet
