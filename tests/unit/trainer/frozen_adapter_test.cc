// A residual trained on top of a frozen persona is what the runtime computes with both.
#include <gtest/gtest.h>

#include "common/adapter/gguf_io.h"
#include "device/runtime/session.h"
#include "tests/support/shared_data.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

class FrozenAdapterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadTiny();
    persona_ = ActiveAdapter(*model_, {.kind = AdapterKind::kCore, .rank = 5, .seed = 8});
    text_ = RandomSequences(4, 16, 3);
    options_.max_steps = 15;
    options_.batch_size = 2;
    options_.learning_rate = 1e-2;
  }

  absl::StatusOr<TrainResult> TrainResidual(std::span<const AdapterRef> frozen) {
    return Train(model_, &pool_, clock_, *MakeAdapter(*model_, {.rank = 3}), frozen, text_, {},
                 options_);
  }

  // Nats a token, computed by the runtime: no code of the trainer.
  double RuntimeLoss(std::span<const AdapterRef> adapters) {
    const auto session = Session::Create(model_, &pool_, {.precision = Precision::kExact}).value();
    EXPECT_TRUE(session->SetAdapters(adapters).ok());
    double sum = 0;
    size_t count = 0;
    for (const Sequence& sequence : text_) {
      const auto scores = session->Score(sequence.tokens);
      EXPECT_TRUE(scores.ok()) << scores.status();
      for (const float score : *scores) sum += score;
      count += scores->size();
    }
    return sum / static_cast<double>(count);
  }

  ThreadPool pool_{2};
  ManualClock clock_;
  std::shared_ptr<const Model> model_;
  Adapter persona_;
  std::vector<Sequence> text_;
  TrainOptions options_;
};

TEST_F(FrozenAdapterTest, TheLossOfTrainingIsThatOfTheRuntimeWithBoth) {
  const std::vector<AdapterRef> frozen = {{&persona_, 0.75f}};
  const auto result = TrainResidual(frozen);
  ASSERT_TRUE(result.ok()) << result.status();

  // Through files, as owners use them.
  const std::string folder = MakeTempDir("frozen");
  ASSERT_TRUE(WriteAdapter(persona_, folder + "/persona.gguf").ok());
  ASSERT_TRUE(WriteAdapter(result->adapter, folder + "/residual.gguf").ok());
  const Adapter persona = ReadAdapter(folder + "/persona.gguf").value();
  const Adapter residual = ReadAdapter(folder + "/residual.gguf").value();
  const std::vector<AdapterRef> both = {{&persona, 0.75f}, {&residual, 1.0f}};
  const double trained = EvaluateLoss(model_, &pool_, both, text_)->loss();
  EXPECT_NEAR(RuntimeLoss(both), trained, 1e-4);
  EXPECT_NEAR(RuntimeLoss(frozen), EvaluateLoss(model_, &pool_, frozen, text_)->loss(), 1e-4);

  // Each does something, and the residual was trained for use with the persona.
  const std::vector<AdapterRef> alone = {{&residual, 1.0f}};
  EXPECT_LT(trained, RuntimeLoss(frozen) - 0.05);
  EXPECT_LT(trained, RuntimeLoss(alone) - 0.001);
}

TEST_F(FrozenAdapterTest, OnlyTheResidualIsTrained) {
  const std::string before = SerializeAdapter(persona_);
  const std::vector<AdapterRef> frozen = {{&persona_, 1.0f}};
  const auto with = TrainResidual(frozen);
  const auto without = TrainResidual({});
  ASSERT_TRUE(with.ok() && without.ok());
  EXPECT_EQ(SerializeAdapter(persona_), before);
  EXPECT_NE(SerializeAdapter(with->adapter), SerializeAdapter(without->adapter));
  EXPECT_EQ(with->adapter.info.kind, AdapterKind::kLora);
  EXPECT_EQ(with->adapter.matrices[0].rank, 3);
}

}  // namespace
}  // namespace lorikeet
