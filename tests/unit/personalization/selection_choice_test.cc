#include "device/personalization/selection_choice.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace lorikeet {
namespace {

constexpr int kDocuments = 8;
constexpr int64_t kTokens = 20;  // of each

// Losses of `nats` a token on average, `spread` up and down from one document to the next.
std::vector<DocumentLoss> Losses(double nats, double spread = 0) {
  std::vector<DocumentLoss> losses;
  for (int i = 0; i < kDocuments; ++i) {
    const double mean = nats + (i % 2 == 0 ? spread : -spread);
    losses.push_back({.nats = mean * kTokens, .tokens = kTokens});
  }
  return losses;
}

// One persona "a" whose style is undecided: nobody is far likelier, but habits are near and the
// model gains a lot on every document.
class SelectionChoiceTest : public ::testing::Test {
 protected:
  SelectionChoiceTest() {
    catalog_.personas.resize(2);
    catalog_.personas[0].id = "a";
    catalog_.personas[1].id = "b";
    for (Persona& persona : catalog_.personas) persona.card.gain = 0.3;
  }

  SelectionEvidence Undecided() const {
    SelectionEvidence evidence{
        .catalog = catalog_, .personas = {}, .order = {0, 1}, .measured = {}, .why_base = {}};
    evidence.personas.resize(2);
    evidence.personas[0].probability = 0.05;
    evidence.personas[0].style_distance = 0.12;
    evidence.personas[0].style.share = 0.9;
    evidence.personas[1].style_distance = 0.5;
    evidence.nobody = 0.95;
    evidence.measured.push_back({.weights = {}, .losses = Losses(3.0)});
    evidence.measured.push_back({.weights = {{.index = 0}}, .losses = Losses(2.8, 0.1)});
    return evidence;
  }

  std::string ChosenAfter(const std::function<void(SelectionEvidence*)>& change) const {
    SelectionEvidence evidence = Undecided();
    change(&evidence);
    Choose(&evidence);
    return evidence.IdOf(evidence.measured[evidence.chosen]);
  }

  Catalog catalog_;
};

TEST_F(SelectionChoiceTest, ASureModelOverrulesAnUndecidedStyleNearBy) {
  EXPECT_EQ(ChosenAfter([](SelectionEvidence*) {}), "a");
}

TEST_F(SelectionChoiceTest, NotAStyleThatIsDecided) {
  EXPECT_EQ(ChosenAfter([](SelectionEvidence* e) { e->personas[0].probability = 0.031; }), "a");
  EXPECT_EQ(ChosenAfter([](SelectionEvidence* e) { e->personas[0].probability = 0.029; }), "base");
}

TEST_F(SelectionChoiceTest, NotHabitsFarAway) {
  EXPECT_EQ(ChosenAfter([](SelectionEvidence* e) { e->personas[0].style_distance = 0.149; }), "a");
  EXPECT_EQ(ChosenAfter([](SelectionEvidence* e) { e->personas[0].style_distance = 0.151; }),
            "base");
}

TEST_F(SelectionChoiceTest, NotASmallGainHoweverSure) {
  EXPECT_EQ(ChosenAfter([](SelectionEvidence* e) { e->measured[1].losses = Losses(2.89); }), "a");
  EXPECT_EQ(ChosenAfter([](SelectionEvidence* e) { e->measured[1].losses = Losses(2.91); }),
            "base");
}

TEST_F(SelectionChoiceTest, NotALargeGainWithinTwoStandardErrors) {
  SelectionEvidence evidence = Undecided();
  const double standard_error = GainOf(evidence, evidence.measured[1]).standard_error;
  ASSERT_GT(standard_error, 0);
  // The error grows as the spread of the documents does.
  const double just = 0.1 * 0.2 / (2 * standard_error);
  const auto spread = [](double by) {
    return [by](SelectionEvidence* e) { e->measured[1].losses = Losses(2.8, by); };
  };
  EXPECT_EQ(ChosenAfter(spread(0.98 * just)), "a");
  EXPECT_EQ(ChosenAfter(spread(1.02 * just)), "base");
}

TEST_F(SelectionChoiceTest, ALikelyPersonaNeedsNoConvincing) {
  EXPECT_EQ(ChosenAfter([](SelectionEvidence* e) {
              e->personas[0].probability = 0.9;
              e->nobody = 0.1;
              e->personas[0].style_distance = 0.4;
              e->measured[1].losses = Losses(2.95);
            }),
            "a");
}

TEST_F(SelectionChoiceTest, APersonaThatPredictsWorseIsNotChosenAndTheReasonSaysSo) {
  SelectionEvidence evidence = Undecided();
  evidence.personas[0].probability = 0.9;
  evidence.nobody = 0.1;
  evidence.measured[1].losses = Losses(4.0);
  Choose(&evidence);
  EXPECT_EQ(evidence.chosen, 0u);
  EXPECT_NE(evidence.why_base.find("4.00 against 3.00"), std::string::npos) << evidence.why_base;
}

TEST_F(SelectionChoiceTest,
       ABlendIsChosenOnlyWhereItPredictsClearlyBetterAndLeadsWithTheLikeliest) {
  const auto add_blend = [](double nats, double spread) {
    return [nats, spread](SelectionEvidence* e) {
      e->personas[0].probability = 0.6;
      e->personas[1].probability = 0.3;
      e->nobody = 0.1;
      e->measured.push_back(
          {.weights = {{.index = 1, .weight = 0.5f}, {.index = 0, .weight = 0.5f}},
           .losses = Losses(nats, spread)});
    };
  };
  EXPECT_EQ(ChosenAfter(add_blend(2.6, 0.1)), "blend");
  EXPECT_EQ(ChosenAfter(add_blend(2.79, 0.6)), "a");
  SelectionEvidence evidence = Undecided();
  add_blend(2.6, 0.1)(&evidence);
  Choose(&evidence);
  EXPECT_EQ(evidence.measured[evidence.chosen].weights.front().index, 0);
}

}  // namespace
}  // namespace lorikeet
