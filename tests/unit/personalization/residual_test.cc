#include "device/personalization/residual.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/random.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/rehearsal.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::Each;
using ::testing::Field;
using ::testing::Ge;

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

TEST_F(ResidualTest, TakesTheBestStrengths) {
  const Residual result = Train({{.index = catalog_.FindPersona("shouting")}});
  ASSERT_EQ(result.persona_search.size(), options_.persona_scales.size());
  ASSERT_EQ(result.residual_search.size(), options_.residual_scales.size());
  const double best = std::ranges::min(result.residual_search, {}, &ScalePoint::loss).loss;
  // What it hands back is what was measured: scaled persona and scaled residual.
  const LossCandidate both = {{.adapter = &*result.persona}, {.adapter = &result.training.adapter}};
  EXPECT_NEAR(SelectionLoss(both), best, 1e-4 * best);
  EXPECT_THAT(result.residual_search, Each(Field(&ScalePoint::loss, Ge(best))));
  EXPECT_FLOAT_EQ(result.training.adapter.info.alpha, 4 * result.residual_scale);
  // This persona fits well: none of it is given away for less than the slack.
  double chosen = 0, least = 1e9;
  for (const ScalePoint& point : result.persona_search) {
    if (point.scale == result.persona_scale) chosen = point.loss;
    least = std::min(least, point.loss);
  }
  EXPECT_LE(chosen, least + options_.persona_slack);
  ASSERT_EQ(result.weights.size(), 1u);
  EXPECT_EQ(result.weights[0].weight, result.persona_scale);
  EXPECT_NEAR(SelectionLoss({{.adapter = &*result.persona}}), chosen, 1e-4 * chosen);
  EXPECT_EQ(result.training.adapter.info.persona_id, "shouting");
}

TEST_F(ResidualTest, APersonaThatHardlyMattersIsKeptWeak) {
  for (Persona& persona : catalog_.personas) std::ranges::fill(persona.cores, 0.0f);
  EXPECT_EQ(Train({{.index = 0}}).persona_scale, 0.5f);
}

TEST_F(ResidualTest, OverfittingIsScaledBack) {
  options_.train.learning_rate = 0.1;
  options_.train.epochs = 12;
  options_.rehearsal_share = 0;
  split_.selection = TokenizeDocuments(*LoadTinyModel(), Private(QuietTexts(6)), 64);
  const Residual wild = Train({});
  EXPECT_EQ(wild.residual_scale, options_.residual_scales.front());
  EXPECT_EQ(wild.training.adapter.info.persona_id, "base");
  EXPECT_FALSE(wild.persona.has_value());
  EXPECT_TRUE(wild.persona_search.empty());
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
