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
    EXPECT_GT(selection->ranked[0].score, 0.95);
    EXPECT_THAT(selection->reason, HasSubstr("closest is " + expected));
    EXPECT_THAT(selection->reason, HasSubstr("the plain model would have been worse by"));
    EXPECT_GT(selection->confidence, 0.95);
    EXPECT_GT(selection->share, 0.9);
    EXPECT_GT(selection->tokens_scored, 0);
  }
}

TEST(SelectorTest, TheBaseWinsWhenNothingFits) {
  Catalog catalog = TwoPersonas();
  // Personas whose cores do nothing: no gain over the base, however close the style.
  for (Persona& persona : catalog.personas) {
    std::ranges::fill(persona.cores, 0.0f);
    persona.card.gain = 0;
  }
  const auto selection =
      Select(LoadTinyModel(), TestPool(), catalog, SplitOf(ShoutingTexts(24)), {});
  ASSERT_TRUE(selection.ok()) << selection.status();
  EXPECT_EQ(selection->chosen, "base");
  EXPECT_TRUE(selection->weights.empty());
  EXPECT_THAT(selection->reason, HasSubstr("no persona fits"));
  EXPECT_EQ(selection->ranked.front().id, "base");
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
  EXPECT_THAT(selection->reason, HasSubstr("but it predicts you worse"));
  EXPECT_LT(selection->confidence, 0.5);  // the style says otherwise
}

TEST(SelectorTest, WhatIsNotTypicalDoesNotFitHoweverTheLossLooks) {
  SelectOptions options;
  options.min_fit = 100;  // nobody is so typical
  const auto selection =
      Select(LoadTinyModel(), TestPool(), TwoPersonas(), SplitOf(ShoutingTexts(24)), options);
  ASSERT_TRUE(selection.ok()) << selection.status();
  EXPECT_EQ(selection->chosen, "base");
  EXPECT_THAT(selection->reason, HasSubstr("does not read like its own"));
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

// Counts what it is asked, and answers with the losses of a world in which persona 1 writes.
class FakeLosses : public LossSource {
 public:
  absl::StatusOr<std::vector<std::vector<DocumentLoss>>> Measure(
      std::span<const LossCandidate> candidates, std::span<const Sequence> documents) override {
    candidates_ += static_cast<int>(candidates.size());
    std::vector<std::vector<DocumentLoss>> losses;
    for (size_t i = 0; i < candidates.size(); ++i) {
      losses.emplace_back();
      for (const Sequence& document : documents) {
        const auto tokens = static_cast<int64_t>(document.tokens.size()) - 1;
        tokens_ += tokens;
        losses.back().push_back(
            {.nats = static_cast<double>(tokens) * (i == 0 ? 3.0 : 2.0), .tokens = tokens});
      }
    }
    return losses;
  }
  int candidates_ = 0;
  int64_t tokens_ = 0;
};

TEST(SelectorTest, StopsAtTheStyleWhereItIsSureAndKeepsToItsBudget) {
  FakeLosses losses;
  const TextSplit split = SplitOf(ShoutingTexts(60));
  SelectOptions options;
  options.tokens_per_training_token = 0.2;
  const auto selection =
      Select(LoadTinyModel(), TestPool(), TwoPersonas(), split, options, &losses);
  ASSERT_TRUE(selection.ok()) << selection.status();
  EXPECT_EQ(selection->stages, (std::vector<std::string>{"style", "loss"}));
  EXPECT_EQ(losses.candidates_, 2);  // the base and one persona
  EXPECT_EQ(losses.tokens_, selection->tokens_scored);
  EXPECT_LE(selection->tokens_scored, std::max<int64_t>(2 * 96, PredictedTokens(split.train) / 5));
  EXPECT_NEAR(selection->ranked[0].held_out_loss.value(), 2.0, 1e-9);
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
