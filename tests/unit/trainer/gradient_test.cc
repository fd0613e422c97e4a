// Gradients against finite differences of the loss, for every kind of base and adapter.
#include "device/trainer/gradient.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "device/trainer/parameters.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

struct GradientCase {
  const char* name;
  TinyModelOptions model;
  AdapterKind kind = AdapterKind::kLora;
  std::vector<Module> modules = {};
  bool frozen = false;
  bool masks = false;
};

void PrintTo(const GradientCase& c, std::ostream* out) { *out << c.name; }

class GradientTest : public ::testing::TestWithParam<GradientCase> {
 protected:
  void SetUp() override {
    const GradientCase& c = GetParam();
    model_ = LoadTiny(c.model);
    auto engine = GradientEngine::Create(model_, &pool_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    adapter_ = ActiveAdapter(*model_, {.kind = c.kind, .rank = 4, .modules = c.modules});
    frozen_lora_ = ActiveAdapter(*model_, {.rank = 3, .seed = 7});
    frozen_core_ = ActiveAdapter(*model_, {.kind = AdapterKind::kCore, .rank = 5, .seed = 8});
    if (c.frozen) frozen_ = {{&frozen_lora_, 0.5f}, {&frozen_core_, 1.5f}};
    batch_ = RandomSequences(3, 9, 5);
    if (!c.masks) return;
    for (Sequence& sequence : batch_) {
      sequence.loss_mask.assign(sequence.tokens.size(), 1.0f);
      sequence.loss_mask[2] = sequence.loss_mask[3] = 0.0f;
      sequence.loss_mask[5] = 0.25f;
      sequence.loss_mask.back() = 0.0f;
    }
  }

  double Loss() {
    const auto result = engine_->Compute(adapter_, frozen_, batch_, nullptr);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->loss() : std::nan("");
  }

  ThreadPool pool_{2};
  std::shared_ptr<const Model> model_;
  std::unique_ptr<GradientEngine> engine_;
  Adapter adapter_, frozen_lora_, frozen_core_;
  std::vector<AdapterRef> frozen_;
  std::vector<Sequence> batch_;
};

// Along a random direction near the gradient: then every coordinate adds to the derivative, and the
// rounding of the loss (about 1e-7) is small beside it.
TEST_P(GradientTest, MatchesFiniteDifferences) {
  std::vector<MatrixGradient> gradients;
  const auto result = engine_->Compute(adapter_, frozen_, batch_, &gradients);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->loss(), Loss(), 1e-6);

  const std::vector<ParameterSpan> parameters = TrainedParameters(adapter_);
  const auto spans = GradientSpans(adapter_.info.kind, gradients);
  ASSERT_EQ(parameters.size(), spans.size());
  Rng rng(3);
  for (size_t i = 0; i < spans.size(); ++i) {
    ASSERT_EQ(parameters[i].values.size(), spans[i].size()) << parameters[i].name;
    std::vector<double> direction(spans[i].size());
    double squares = 0;
    for (size_t j = 0; j < direction.size(); ++j) {
      direction[j] = spans[i][j] * (0.5 + rng.Uniform());
      squares += direction[j] * direction[j];
    }
    ASSERT_GT(squares, 0) << parameters[i].name;
    const double step = 1e-2;
    double expected = 0;
    const std::vector<float> before(parameters[i].values.begin(), parameters[i].values.end());
    const auto loss_at = [&](double distance) {
      for (size_t j = 0; j < direction.size(); ++j) {
        parameters[i].values[j] =
            static_cast<float>(before[j] + distance * direction[j] / std::sqrt(squares));
      }
      return Loss();
    };
    for (size_t j = 0; j < direction.size(); ++j) {
      expected += spans[i][j] * direction[j] / std::sqrt(squares);
    }
    // Fourth order: the step's error is far below the tolerance.
    const double measured =
        (8 * (loss_at(step) - loss_at(-step)) - (loss_at(2 * step) - loss_at(-2 * step))) /
        (12 * step);
    loss_at(0);
    EXPECT_NEAR(measured, expected, 2e-3 * std::abs(expected) + 1e-4) << parameters[i].name;
  }
}

// The kept activations of the last layers are a matter of speed only.
TEST_P(GradientTest, DoesNotDependOnWhatIsKept) {
  std::vector<MatrixGradient> kept, recomputed;
  ASSERT_TRUE(engine_->Compute(adapter_, frozen_, batch_, &recomputed).ok());
  auto roomy = GradientEngine::Create(model_, &pool_, {.memory = {.kept_layers = 99}});
  ASSERT_TRUE(roomy.ok());
  ASSERT_TRUE((*roomy)->Compute(adapter_, frozen_, batch_, &kept).ok());
  const auto a = GradientSpans(adapter_.info.kind, kept);
  const auto b = GradientSpans(adapter_.info.kind, recomputed);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(std::equal(a[i].begin(), a[i].end(), b[i].begin(), b[i].end())) << i;
  }
  EXPECT_GT((*roomy)->working_set_bytes(), engine_->working_set_bytes());
}

TinyModelOptions Llama() { return {.layers = 3}; }
TinyModelOptions LlamaUntied() { return {.kv_heads = 1, .rope_freqs = true, .tied = false}; }
TinyModelOptions Qwen() { return {.architecture = "qwen2", .kv_heads = 2}; }
TinyModelOptions QwenQ8() {
  return {.architecture = "qwen2", .kv_heads = 4, .type = TensorType::kQ8_0, .tied = false};
}

INSTANTIATE_TEST_SUITE_P(
    Cases, GradientTest,
    ::testing::Values(
        GradientCase{.name = "LlamaLora", .model = Llama()},
        GradientCase{.name = "LlamaCore", .model = Llama(), .kind = AdapterKind::kCore},
        GradientCase{.name = "LlamaUntiedLoraFrozenMasks",
                     .model = LlamaUntied(),
                     .frozen = true,
                     .masks = true},
        GradientCase{.name = "LlamaUntiedCoreFrozen",
                     .model = LlamaUntied(),
                     .kind = AdapterKind::kCore,
                     .frozen = true},
        GradientCase{.name = "QwenLoraMasks", .model = Qwen(), .masks = true},
        GradientCase{.name = "QwenCoreFrozenMasks",
                     .model = Qwen(),
                     .kind = AdapterKind::kCore,
                     .frozen = true,
                     .masks = true},
        GradientCase{.name = "QwenQ8Lora", .model = QwenQ8(), .frozen = true},
        GradientCase{.name = "OnlyFeedForward",
                     .model = Llama(),
                     .modules = {Module::kGate, Module::kDown},
                     .frozen = true},
        GradientCase{.name = "OnlyAttentionOutput", .model = Llama(), .modules = {Module::kO}},
        GradientCase{.name = "OnlyValueCore",
                     .model = Qwen(),
                     .kind = AdapterKind::kCore,
                     .modules = {Module::kV}}),
    [](const auto& test) { return std::string(test.param.name); });

class GradientErrorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadTiny();
    engine_ = *GradientEngine::Create(model_, &pool_);
    adapter_ = ActiveAdapter(*model_, {.rank = 2});
  }
  absl::Status Run(std::vector<Sequence> batch) {
    std::vector<MatrixGradient> gradients;
    return engine_->Compute(adapter_, {}, batch, &gradients).status();
  }

  ThreadPool pool_{1};
  std::shared_ptr<const Model> model_;
  std::unique_ptr<GradientEngine> engine_;
  Adapter adapter_;
};

TEST_F(GradientErrorTest, RefusesBatchesWithNothingToLearn) {
  EXPECT_EQ(Run({}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{.tokens = {5}, .loss_mask = {}}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{.tokens = {5, 6}, .loss_mask = {1, 0}}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(GradientErrorTest, RefusesTokensOutsideTheVocabularyAndBadMasks) {
  EXPECT_EQ(Run({{.tokens = {5, 288}, .loss_mask = {}}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{.tokens = {-1, 6}, .loss_mask = {}}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{.tokens = {5, 6}, .loss_mask = {1}}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run({{.tokens = {5, 6}, .loss_mask = {1, -1}}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(GradientErrorTest, NamesWhereTheFirstNonFiniteValueAppeared) {
  for (AdapterMatrix& matrix : adapter_.matrices) {
    if (matrix.target == AdapterTarget{1, Module::kUp}) {
      matrix.b[0] = std::numeric_limits<float>::infinity();
    }
  }
  const absl::Status status = Run(RandomSequences(1, 6, 1));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("blk.1"));
}

TEST_F(GradientErrorTest, RefusesAnAdapterOfAnotherBase) {
  adapter_.info.base_fingerprint = std::string(64, '0');
  EXPECT_EQ(Run(RandomSequences(1, 6, 1)).code(), absl::StatusCode::kFailedPrecondition);
}

// A batch is the weighted mean of its sequences: laying them end to end mixes nothing.
TEST_F(GradientErrorTest, SequencesOfABatchDoNotSeeEachOther) {
  const std::vector<Sequence> batch = RandomSequences(3, 8, 2);
  double sum = 0, weights = 0;
  for (const Sequence& sequence : batch) {
    const auto alone = engine_->Compute(adapter_, {}, {&sequence, 1}, nullptr);
    ASSERT_TRUE(alone.ok());
    sum += alone->loss_sum;
    weights += alone->weight_sum;
  }
  const auto together = engine_->Compute(adapter_, {}, batch, nullptr);
  ASSERT_TRUE(together.ok());
  EXPECT_NEAR(together->loss(), sum / weights, 1e-6);
}

}  // namespace
}  // namespace lorikeet
