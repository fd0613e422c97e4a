#include "device/personalization/residual.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/random.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/rehearsal.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

TEST(RehearsalTest, DrawsWhatTheBaseWouldWrite) {
  const auto model = LoadTinyModel();
  const RehearsalOptions options{.tokens = 600, .sequence_tokens = 40, .seed = 3};
  const std::vector<Sequence> drawn = RehearseBase(model, TestPool(), options).value();
  EXPECT_GE(PredictedTokens(drawn), 550);
  EXPECT_LE(PredictedTokens(drawn), 600);
  std::vector<Sequence> other = drawn;
  Rng rng(1);
  for (Sequence& sequence : other) {
    EXPECT_LE(sequence.tokens.size(), 40u);
    EXPECT_GE(sequence.tokens.size(), 2u);
    for (size_t i = 1; i < sequence.tokens.size(); ++i) {
      sequence.tokens[i] =
          static_cast<TokenId>(rng.Below(static_cast<uint64_t>(model->config().vocabulary_size)));
    }
  }
  const auto meter = LossMeter::Create(model, TestPool()).value();
  const LossCandidate base;
  EXPECT_LT(MeanLoss(meter->Measure({&base, 1}, drawn).value()[0]),
            MeanLoss(meter->Measure({&base, 1}, other).value()[0]));

  const std::vector<Sequence> again = RehearseBase(model, TestPool(), options).value();
  ASSERT_EQ(again.size(), drawn.size());
  for (size_t i = 0; i < drawn.size(); ++i) EXPECT_EQ(again[i].tokens, drawn[i].tokens);
  EXPECT_TRUE(RehearseBase(model, TestPool(), {.tokens = 0}).value().empty());
  EXPECT_FALSE(RehearseBase(model, TestPool(), {.tokens = 5, .sequence_tokens = 1}).ok());
}

class ResidualTest : public ::testing::Test {
 protected:
  ResidualTest() {
    options_.rank = 2;
    options_.alpha = 4;
    split_ =
        SplitText(*LoadTinyModel(), {.documents = Private(ShoutingTexts(40)), .judge = {}}).value();
    meter_ = LossMeter::Create(LoadTinyModel(), TestPool()).value();
  }
  Residual Train(const std::vector<PersonaWeight>& weights) {
    return TrainResidual(LoadTinyModel(), TestPool(), clock_, catalog_, weights, split_, options_)
        .value();
  }
  double SelectionLoss(const LossCandidate& candidate) {
    return MeanLoss(meter_->Measure({&candidate, 1}, split_.selection).value()[0]);
  }

  SystemClock clock_;
  Catalog catalog_ = TwoPersonas();
  TextSplit split_;
  ResidualOptions options_;
  std::unique_ptr<LossMeter> meter_;
};

TEST(ChooseScaleTest, TakesTheLeastThatKeepsTheShareWithinTheBudget) {
  const std::vector<ScalePoint> points = {{.scale = 0, .loss = 5, .forgetting = 0.010},
                                          {.scale = 0.25f, .loss = 4.6, .forgetting = 0.011},
                                          {.scale = 0.5f, .loss = 4.2, .forgetting = 0.015},
                                          {.scale = 0.75f, .loss = 4.1, .forgetting = 0.020},
                                          {.scale = 1, .loss = 4.0, .forgetting = 0.030}};
  EXPECT_EQ(ChooseScale(points, 1, 1).scale, 1);
  EXPECT_EQ(ChooseScale(points, 0.8, 1).scale, 0.5f);
  EXPECT_EQ(ChooseScale(points, 0.9, 1).scale, 0.75f);
  EXPECT_EQ(ChooseScale(points, 1, 0.02).scale, 0.75f);
  // The share is of what the budget allows, not of what is out of reach.
  EXPECT_EQ(ChooseScale(points, 1, 0.012).scale, 0.25f);
  EXPECT_EQ(ChooseScale(points, 1, 0.0105).scale, 0);
  EXPECT_EQ(ChooseScale(points, 1, 0.001).scale, 0);
  const std::vector<ScalePoint> harmful = {{.scale = 0, .loss = 5}, {.scale = 0.1f, .loss = 5.1}};
  EXPECT_EQ(ChooseScale(harmful, 0.8, 1).scale, 0);
}

const ScalePoint& PointAt(const std::vector<ScalePoint>& points, float scale) {
  return *std::ranges::find(points, scale, &ScalePoint::scale);
}

TEST_F(ResidualTest, HandsBackWhatWasMeasured) {
  options_.forgetting_budget = 1;
  const Residual result = Train({{.index = catalog_.FindPersona("shouting")}});
  ASSERT_EQ(result.persona_search.size(), 1 + options_.persona_scales.size());
  ASSERT_EQ(result.residual_search.size(), 1 + options_.residual_scales.size());
  // This persona fits, and training helps.
  EXPECT_GT(result.persona_scale, 0.5f);
  EXPECT_GT(result.residual_scale, 0);
  const ScalePoint& persona = PointAt(result.persona_search, result.persona_scale);
  EXPECT_NEAR(SelectionLoss({{.adapter = &*result.persona}}), persona.loss, 1e-4 * persona.loss);
  EXPECT_NEAR(persona.loss, result.residual_search.front().loss, 1e-4 * persona.loss);
  EXPECT_EQ(result.persona_forgetting, persona.forgetting);
  const LossCandidate both = {{.adapter = &*result.persona}, {.adapter = &result.training.adapter}};
  const ScalePoint& residual = PointAt(result.residual_search, result.residual_scale);
  EXPECT_NEAR(SelectionLoss(both), residual.loss, 1e-4 * residual.loss);
  EXPECT_EQ(result.forgetting, residual.forgetting);
  EXPECT_FLOAT_EQ(result.training.adapter.info.alpha, 4 * result.residual_scale);
  ASSERT_EQ(result.weights.size(), 1u);
  EXPECT_EQ(result.weights[0].weight, result.persona_scale);
  EXPECT_EQ(result.training.adapter.info.persona_id, "shouting");
}

TEST_F(ResidualTest, ForgettingStaysWithinTheBudget) {
  options_.train.learning_rate = 2e-2;
  const std::vector<PersonaWeight> shouting = {{.index = catalog_.FindPersona("shouting")}};
  options_.forgetting_budget = 1;
  const Residual free = Train(shouting);
  options_.forgetting_budget = 0.5 * free.forgetting;
  const Residual bound = Train(shouting);
  EXPECT_GT(free.forgetting, bound.forgetting);
  EXPECT_LE(bound.forgetting, options_.forgetting_budget);
  EXPECT_LE(bound.persona_forgetting, options_.persona_budget_share * options_.forgetting_budget);
  // Of text of the base that neither trained nor measured, as far as that is alike.
  const std::vector<Sequence> known =
      RehearseBase(LoadTinyModel(), TestPool(), {.tokens = 2000, .seed = 99}).value();
  const auto rise = [&](const Residual& result) {
    std::vector<LossCandidate> candidates = {{}, {{.adapter = &result.training.adapter}}};
    if (result.persona) candidates[1].push_back({.adapter = &*result.persona});
    const auto losses = meter_->Measure(candidates, known).value();
    return MeanLoss(losses[1]) / MeanLoss(losses[0]) - 1;
  };
  EXPECT_LT(rise(bound), 0.75 * rise(free));
}

TEST_F(ResidualTest, APersonaThatDoesNotHelpIsDropped) {
  for (Persona& persona : catalog_.personas) std::ranges::fill(persona.cores, 0.0f);
  const Residual result = Train({{.index = 0}});
  EXPECT_EQ(result.persona_scale, 0);
  EXPECT_FALSE(result.persona.has_value());
  EXPECT_TRUE(result.weights.empty());
  EXPECT_EQ(result.training.adapter.info.persona_id, "base");
}

TEST_F(ResidualTest, WhatOnlyHarmsIsScaledToNothing) {
  options_.train.learning_rate = 0.1;
  options_.train.epochs = 12;
  options_.rehearsal_share = 0;
  split_.selection = TokenizeDocuments(*LoadTinyModel(), Private(QuietTexts(6)), 64);
  const Residual wild = Train({});
  EXPECT_EQ(wild.residual_scale, 0);
  EXPECT_TRUE(wild.persona_search.empty());
  // It computes nothing, and does not by an alpha of 0, which would mean full strength.
  const double base = SelectionLoss({});
  EXPECT_NEAR(SelectionLoss({{.adapter = &wild.training.adapter}}), base, 1e-5);
  EXPECT_NEAR(wild.residual_search.front().loss, base, 1e-5);
  // How wildly it trains depends on rounding; that every strength harms does not.
  ASSERT_GT(wild.residual_search.size(), 1u);
  for (const ScalePoint& point : std::span(wild.residual_search).subspan(1)) {
    EXPECT_TRUE(point.loss > base || point.forgetting > options_.forgetting_budget)
        << point.scale << ": " << point.loss << " against " << base << ", " << point.forgetting;
  }
}

TEST_F(ResidualTest, RehearsalKeepsWhatTheBaseKnows) {
  const std::vector<Sequence> known =
      RehearseBase(LoadTinyModel(), TestPool(), {.tokens = 1000, .seed = 99}).value();
  options_.residual_scales = {};  // at full strength
  options_.train.epochs = 8;
  double loss[2];
  for (const bool rehearse : {false, true}) {
    options_.rehearsal_share = rehearse ? 0.5 : 0;
    const Residual result = Train({});
    const LossCandidate candidate = {{.adapter = &result.training.adapter}};
    loss[rehearse] = MeanLoss(meter_->Measure({&candidate, 1}, known).value()[0]);
  }
  const LossCandidate base;
  const double before = MeanLoss(meter_->Measure({&base, 1}, known).value()[0]);
  EXPECT_GT(loss[0], before);
  EXPECT_LT(loss[1] - before, 0.9 * (loss[0] - before));
}

}  // namespace
}  // namespace lorikeet
