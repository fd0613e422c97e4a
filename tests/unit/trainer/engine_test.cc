// The gradient engine's ways of working: rounded numbers, learners side by side, planned memory,
// pauses.  That gradients are right: gradient_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "device/trainer/gradient.h"
#include "device/trainer/parameters.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

TinyModelOptions QuantizedQwen(TensorType type) {
  return {.architecture = "qwen2", .kv_heads = 2, .type = type};
}

struct Outcome {
  absl::Status status;
  GradientResult result;
  std::vector<MatrixGradient> gradients;
  int64_t working_set_bytes = 0;
};

Outcome Compute(const std::shared_ptr<const Model>& model, const Adapter& adapter,
                std::span<const Sequence> batch, const GradientEngineOptions& options,
                int threads = 2) {
  ThreadPool pool(threads);
  const auto engine = GradientEngine::Create(model, &pool, options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  Outcome run;
  const auto result = (*engine)->Compute(adapter, {}, batch, &run.gradients);
  run.status = result.status();
  if (result.ok()) run.result = *result;
  run.working_set_bytes = (*engine)->working_set_bytes();
  return run;
}

// |a - b| / |b| over all tensors.
double RelativeDistance(AdapterKind kind, const std::vector<MatrixGradient>& a,
                        const std::vector<MatrixGradient>& b) {
  const auto left = GradientSpans(kind, a);
  const auto right = GradientSpans(kind, b);
  EXPECT_EQ(left.size(), right.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    EXPECT_EQ(left[i].size(), right[i].size());
    for (size_t j = 0; j < right[i].size(); ++j) {
      error += std::pow(double{left[i][j]} - right[i][j], 2);
      norm += std::pow(double{right[i][j]}, 2);
    }
  }
  return std::sqrt(error / norm);
}

class FastTest : public ::testing::TestWithParam<TensorType> {};

// Each product's rounding is about 0.5 to 1 % of its result; the gradient goes through some dozen.
TEST_P(FastTest, GradientsAreNearTheExactOnes) {
  const auto model = LoadTiny(QuantizedQwen(GetParam()));
  for (const AdapterKind kind : {AdapterKind::kLora, AdapterKind::kCore}) {
    const Adapter adapter = ActiveAdapter(*model, {.kind = kind, .rank = 4});
    const std::vector<Sequence> batch = RandomSequences(3, 21, 5);
    const Outcome exact = Compute(model, adapter, batch, {});
    const Outcome fast = Compute(model, adapter, batch, {.precision = TrainPrecision::kFast});
    ASSERT_TRUE(exact.status.ok() && fast.status.ok()) << exact.status << fast.status;
    EXPECT_NEAR(fast.result.loss(), exact.result.loss(), 0.01 * exact.result.loss());
    const double distance = RelativeDistance(kind, fast.gradients, exact.gradients);
    EXPECT_LT(distance, 0.06);
    EXPECT_GT(distance, 1e-6) << "nothing was rounded";
  }
}

TEST_P(FastTest, DoesNotDependOnThreadsOrOnWhatIsKept) {
  const auto model = LoadTiny(QuantizedQwen(GetParam()));
  const Adapter adapter = ActiveAdapter(*model, {.rank = 4});
  const std::vector<Sequence> batch = RandomSequences(3, 21, 5);
  const GradientEngineOptions options{.precision = TrainPrecision::kFast};
  GradientEngineOptions keeps = options;
  keeps.memory.kept_layers = 1;
  GradientEngineOptions few_rows = options;
  few_rows.memory.vocabulary_rows = 7;
  const Outcome one = Compute(model, adapter, batch, options, 1);
  const Outcome three = Compute(model, adapter, batch, options, 3);
  const Outcome kept = Compute(model, adapter, batch, keeps, 2);
  const Outcome few = Compute(model, adapter, batch, few_rows, 2);
  EXPECT_EQ(RelativeDistance(AdapterKind::kLora, three.gradients, one.gradients), 0);
  EXPECT_EQ(RelativeDistance(AdapterKind::kLora, kept.gradients, one.gradients), 0);
  // The product of few rows sums in another order, and what it gives is rounded again.
  EXPECT_LT(RelativeDistance(AdapterKind::kLora, few.gradients, one.gradients), 0.02);
}

INSTANTIATE_TEST_SUITE_P(Types, FastTest, ::testing::Values(TensorType::kQ8_0, TensorType::kQ4_0),
                         [](const auto& test) {
                           return "T" + std::to_string(static_cast<int>(test.param));
                         });

// Of float weights nothing is rounded.
TEST(EngineTest, FastPrecisionOfAFloatBaseIsExact) {
  const auto model = LoadTiny({.layers = 2});
  const Adapter adapter = ActiveAdapter(*model, {.rank = 4});
  const std::vector<Sequence> batch = RandomSequences(2, 13, 5);
  const Outcome exact = Compute(model, adapter, batch, {});
  const Outcome fast = Compute(model, adapter, batch, {.precision = TrainPrecision::kFast});
  EXPECT_LT(RelativeDistance(AdapterKind::kLora, fast.gradients, exact.gradients), 1e-5);
}

class LearnersTest : public ::testing::TestWithParam<TrainPrecision> {};

TEST_P(LearnersTest, EachIsAsIfAlone) {
  const auto model = LoadTiny(QuantizedQwen(TensorType::kQ8_0));
  ThreadPool pool(2);
  const auto engine = *GradientEngine::Create(model, &pool, {.precision = GetParam()});
  const Adapter adapters[] = {
      ActiveAdapter(*model, {.rank = 4, .seed = 1}),
      ActiveAdapter(*model, {.kind = AdapterKind::kCore, .rank = 3, .seed = 2}),
      ActiveAdapter(*model, {.rank = 2, .modules = {Module::kQ, Module::kDown}, .seed = 3})};
  const Adapter frozen = ActiveAdapter(*model, {.rank = 5, .seed = 4});
  const AdapterRef frozen_ref{&frozen, 0.5f};
  const std::vector<Sequence> batches[] = {RandomSequences(2, 11, 1), RandomSequences(1, 19, 2),
                                           RandomSequences(3, 10, 3)};
  std::vector<MatrixGradient> together[3];
  std::vector<LearnerBatch> learners;
  for (int i = 0; i < 3; ++i) {
    learners.push_back({.trained = &adapters[i], .batch = batches[i], .gradients = &together[i]});
  }
  learners[1].frozen = {&frozen_ref, 1};
  const auto results = engine->ComputeMany(learners);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 3u);
  for (int i = 0; i < 3; ++i) {
    std::vector<MatrixGradient> alone;
    const auto result = engine->Compute(adapters[i], learners[i].frozen, batches[i], &alone);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NEAR((*results)[i].loss(), result->loss(), 1e-5) << i;
    EXPECT_EQ((*results)[i].weight_sum, result->weight_sum) << i;
    EXPECT_LT(RelativeDistance(adapters[i].info.kind, together[i], alone), 1e-5) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, LearnersTest,
                         ::testing::Values(TrainPrecision::kExact, TrainPrecision::kFast),
                         [](const auto& test) {
                           return test.param == TrainPrecision::kFast ? "Fast" : "Exact";
                         });

TEST(EngineTest, TakesTheMemoryThatWasPlanned) {
  const auto model = LoadTiny({.layers = 3, .type = TensorType::kQ8_0});
  const Adapter adapter = ActiveAdapter(*model, {.rank = 4});
  const std::vector<Sequence> batch = RandomSequences(1, 65, 5);
  constexpr int64_t kRows = 64;
  for (const TrainPrecision precision : {TrainPrecision::kExact, TrainPrecision::kFast}) {
    const auto frugal = PlanMemory(model, adapter, {}, kRows, precision, 0);
    ASSERT_TRUE(frugal.ok()) << frugal.status();
    EXPECT_EQ(frugal->memory.kept_layers, 0);
    EXPECT_LE(frugal->least_bytes, frugal->engine_bytes);
    const auto roomy = PlanMemory(model, adapter, {}, kRows, precision, int64_t{1} << 30);
    ASSERT_TRUE(roomy.ok());
    EXPECT_EQ(roomy->memory.kept_layers, 3);
    const int64_t between = (frugal->engine_bytes + roomy->engine_bytes) / 2;
    const auto some = PlanMemory(model, adapter, {}, kRows, precision, between);
    ASSERT_TRUE(some.ok());
    EXPECT_GT(some->memory.kept_layers, 0);
    EXPECT_LT(some->memory.kept_layers, 3);
    EXPECT_LE(some->engine_bytes, between);
    for (const auto& plan : {frugal, some, roomy}) {
      const Outcome run =
          Compute(model, adapter, batch, {.precision = precision, .memory = plan->memory});
      EXPECT_TRUE(run.status.ok()) << run.status;
      EXPECT_EQ(run.working_set_bytes, plan->engine_bytes) << plan->memory.kept_layers;
    }
    const auto starved = PlanMemory(model, adapter, {}, kRows, precision, 1000);
    ASSERT_TRUE(starved.ok());
    EXPECT_EQ(starved->engine_bytes, starved->least_bytes);
    EXPECT_GT(starved->least_bytes, 1000);
  }
}

TEST(EngineTest, StopsAtAPausePoint) {
  const auto model = LoadTiny({.layers = 3, .type = TensorType::kQ8_0});
  const Adapter adapter = ActiveAdapter(*model, {.rank = 4});
  const std::vector<Sequence> batch = RandomSequences(1, 33, 5);
  for (const TrainPrecision precision : {TrainPrecision::kExact, TrainPrecision::kFast}) {
    int calls = 0, stop_at = -1;
    GradientEngineOptions options{.precision = precision};
    options.pause_point = [&] {
      return calls++ == stop_at ? absl::CancelledError("enough") : absl::OkStatus();
    };
    ThreadPool pool(2);
    const auto engine = *GradientEngine::Create(model, &pool, options);
    std::vector<MatrixGradient> whole, again;
    ASSERT_TRUE(engine->Compute(adapter, {}, batch, &whole).ok());
    const int points = calls;
    EXPECT_GT(points, 3 * model->config().layer_count);
    for (stop_at = 0; stop_at < points; ++stop_at) {
      calls = 0;
      const auto stopped = engine->Compute(adapter, {}, batch, &again);
      EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled) << stop_at;
    }
    stop_at = -1;
    ASSERT_TRUE(engine->Compute(adapter, {}, batch, &again).ok());
    EXPECT_EQ(RelativeDistance(AdapterKind::kLora, again, whole), 0);
  }
}

}  // namespace
}  // namespace lorikeet
