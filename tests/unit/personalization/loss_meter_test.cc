#include "device/personalization/loss_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "common/adapter/catalog.h"
#include "device/personalization/private_documents.h"
#include "device/runtime/session.h"
#include "device/trainer/make_adapter.h"
#include "device/trainer/trainer.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;

TEST(PairedGainTest, IsARatioWithItsError) {
  const std::vector<DocumentLoss> a = {{10, 5}, {20, 10}, {12, 5}};
  const std::vector<DocumentLoss> b = {{5, 5}, {10, 10}, {7, 5}};  // 1 nat a token lower, exactly
  const PairedGain gain = ComparePaired(a, b);
  EXPECT_DOUBLE_EQ(gain.gain, 1.0);
  EXPECT_DOUBLE_EQ(gain.standard_error, 0.0);
  EXPECT_DOUBLE_EQ(ComparePaired(b, a).gain, -1.0);
  EXPECT_TRUE(
      std::isinf(ComparePaired(std::span(a).first(1), std::span(b).first(1)).standard_error));
  const std::vector<DocumentLoss> c = {
      {10, 5}, {0, 10}, {12, 5}};  // all of the gain in one document
  EXPECT_DOUBLE_EQ(ComparePaired(a, c).gain, 1.0);
  EXPECT_GT(ComparePaired(a, c).standard_error, 0.5);
  EXPECT_DOUBLE_EQ(MeanLoss(a), 42.0 / 20.0);
  EXPECT_DOUBLE_EQ(MeanLoss({}), 0.0);
}

// Documents of 2 to 40 tokens or so, one of them with nothing to predict.
std::vector<Sequence> MixedDocuments() {
  std::vector<Sequence> documents = TokenizeDocuments(*LoadTinyModel(), Private(QuietTexts(4)), 24);
  for (Sequence& more : TokenizeDocuments(*LoadTinyModel(), Private(ShoutingTexts(3)), 64)) {
    documents.push_back(std::move(more));
  }
  documents[1].tokens.resize(1);
  documents[2].tokens.resize(2);
  return documents;
}

// The base, both personas (of kind core), and a LoRA on top of a persona.
class LossMeterTest : public ::testing::Test {
 protected:
  LossMeterTest() {
    lora_.matrices.pop_back();  // not every weight has one
    for (AdapterMatrix& matrix : lora_.matrices) {
      for (size_t i = 0; i < matrix.b.size(); ++i) matrix.b[i] = 0.01f * static_cast<float>(i % 7);
    }
    candidates_ = {{},
                   {{.adapter = &quiet_}},
                   {{.adapter = &shouting_, .scale = 0.5f}},
                   {{.adapter = &quiet_}, {.adapter = &lora_}}};
  }

  Adapter quiet_ = PersonaAdapter(TwoPersonas(), 0);
  Adapter shouting_ = PersonaAdapter(TwoPersonas(), 1);
  Adapter lora_ =
      MakeAdapter(*LoadTinyModel(), {.kind = AdapterKind::kLora, .rank = 3, .modules = {}}).value();
  std::vector<LossCandidate> candidates_;
};

TEST_F(LossMeterTest, ManyAtOnceAreWhatEachIsAlone) {
  const std::vector<Sequence> documents = MixedDocuments();
  for (const TrainPrecision precision : {TrainPrecision::kExact, TrainPrecision::kFast}) {
    const auto meter =
        LossMeter::Create(LoadTinyModel(), TestPool(), {.precision = precision}).value();
    const auto together = meter->Measure(candidates_, documents).value();
    ASSERT_EQ(together.size(), candidates_.size());
    for (size_t i = 0; i < candidates_.size(); ++i) {
      ASSERT_EQ(together[i].size(), documents.size());
      EXPECT_NE(together[i][0].nats, together[(i + 1) % candidates_.size()][0].nats);
      for (size_t j = 0; j < documents.size(); ++j) {
        const auto alone = meter->Measure({&candidates_[i], 1}, {&documents[j], 1}).value();
        EXPECT_EQ(together[i][j].tokens, static_cast<int64_t>(documents[j].tokens.size()) - 1);
        EXPECT_EQ(alone[0][0].tokens, together[i][j].tokens);
        EXPECT_NEAR(alone[0][0].nats, together[i][j].nats, 1e-5 * together[i][j].nats);
      }
    }
    // Not only near: the same bytes the next time.
    const auto again = meter->Measure(candidates_, documents).value();
    for (size_t i = 0; i < candidates_.size(); ++i) {
      for (size_t j = 0; j < documents.size(); ++j) {
        EXPECT_EQ(again[i][j].nats, together[i][j].nats);
      }
    }
  }
}

TEST_F(LossMeterTest, ExactIsWhatTheRuntimeAndTheTrainerSay) {
  const std::vector<Sequence> documents =
      TokenizeDocuments(*LoadTinyModel(), Private(QuietTexts(5)), 64);
  const auto meter =
      LossMeter::Create(LoadTinyModel(), TestPool(), {.precision = TrainPrecision::kExact}).value();
  const auto losses = meter->Measure(candidates_, documents).value();
  const auto session =
      Session::Create(LoadTinyModel(), TestPool(), {.precision = Precision::kExact}).value();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    ASSERT_TRUE(session->SetAdapters(candidates_[i]).ok());
    for (size_t j = 0; j < documents.size(); ++j) {
      const auto score = session->Score(documents[j].tokens);
      ASSERT_TRUE(score.ok()) << score.status();
      const double nats = std::accumulate(score->begin(), score->end(), 0.0);
      EXPECT_NEAR(losses[i][j].nats, nats, 1e-4 * nats);
    }
    const double mean =
        EvaluateLoss(LoadTinyModel(), TestPool(), candidates_[i], documents)->loss();
    EXPECT_NEAR(MeanLoss(losses[i]), mean, 1e-6 * mean);
  }
}

TEST_F(LossMeterTest, GroupsBoundTheRowsAndChangeNothing) {
  const std::vector<Sequence> documents = MixedDocuments();
  const auto whole = LossMeter::Create(LoadTinyModel(), TestPool())
                         .value()
                         ->Measure(candidates_, documents)
                         .value();
  for (const int64_t rows : {1, 40, 90}) {
    const auto meter = LossMeter::Create(LoadTinyModel(), TestPool(), {.max_rows = rows}).value();
    const auto losses = meter->Measure(candidates_, documents).value();
    for (size_t i = 0; i < candidates_.size(); ++i) {
      for (size_t j = 0; j < documents.size(); ++j) {
        EXPECT_NEAR(losses[i][j].nats, whole[i][j].nats, 1e-5 * whole[i][j].nats);
      }
    }
  }
}

TEST_F(LossMeterTest, MasksSayWhatCounts) {
  std::vector<Sequence> documents = {MixedDocuments()[0]};
  const auto meter = LossMeter::Create(LoadTinyModel(), TestPool()).value();
  const double all = meter->Measure(candidates_, documents).value()[1][0].nats;
  documents.push_back(documents[0]);
  documents[0].loss_mask.assign(documents[0].tokens.size(), 0.0f);
  std::fill_n(documents[0].loss_mask.begin(), 5, 1.0f);  // tokens 1 to 4
  documents[1].loss_mask.assign(documents[1].tokens.size(), 1.0f);
  std::fill_n(documents[1].loss_mask.begin(), 5, 0.0f);
  const auto losses = meter->Measure(candidates_, documents).value()[1];
  EXPECT_EQ(losses[0].tokens, 4);
  EXPECT_EQ(losses[1].tokens, static_cast<int64_t>(documents[1].tokens.size()) - 5);
  EXPECT_NEAR(losses[0].nats + losses[1].nats, all, 1e-5 * all);
  EXPECT_GT(losses[0].nats, 0);
}

TEST_F(LossMeterTest, NothingToMeasureAndBadInput) {
  const auto meter = LossMeter::Create(LoadTinyModel(), TestPool()).value();
  EXPECT_TRUE(meter->Measure({}, MixedDocuments()).value().empty());
  EXPECT_THAT(meter->Measure(candidates_, {}).value()[0], ElementsAre());
  const std::vector<Sequence> one = {{.tokens = {1}, .loss_mask = {}}};
  EXPECT_EQ(meter->Measure(candidates_, one).value()[0][0].tokens, 0);
  const std::vector<Sequence> outside = {{.tokens = {1, 1 << 30}, .loss_mask = {}}};
  EXPECT_EQ(meter->Measure(candidates_, outside).status().code(),
            absl::StatusCode::kInvalidArgument);
  Adapter foreign = lora_;
  foreign.info.base_fingerprint = std::string(64, '0');
  const std::vector<LossCandidate> refused = {{{.adapter = &foreign}}};
  EXPECT_FALSE(meter->Measure(refused, MixedDocuments()).ok());
  EXPECT_EQ(LossMeter::Create(LoadTinyModel(), TestPool(), {.max_rows = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
