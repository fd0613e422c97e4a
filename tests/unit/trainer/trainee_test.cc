// Training all weights: every tensor's gradient against differences of a loss in double, threads,
// weight decay, resume, and the file that comes out.
#include "device/trainer/trainee.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "device/trainer/adamw.h"
#include "tests/support/shared_data.h"
#include "tests/unit/model/naive_forward.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using ::testing::Each;
using ::testing::FloatEq;
using ::testing::HasSubstr;

struct BaseCase {
  const char* name;
  TinyModelOptions model;
};

void PrintTo(const BaseCase& c, std::ostream* out) { *out << c.name; }

// Mean loss by a forward pass that shares nothing with the engine.
double NaiveLoss(const Model& model, std::span<const Sequence> batch) {
  double sum = 0, weights = 0;
  for (const Sequence& sequence : batch) {
    const auto logits = NaiveLogits(model.file(), sequence.tokens);
    for (size_t i = 1; i < sequence.tokens.size(); ++i) {
      const double weight = sequence.loss_mask.empty() ? 1 : sequence.loss_mask[i];
      const std::vector<double>& row = logits[i - 1];
      double total = 0;
      for (const double logit : row) total += std::exp(logit);
      sum += weight * (std::log(total) - row[sequence.tokens[i]]);
      weights += weight;
    }
  }
  return sum / weights;
}

std::unique_ptr<TrainableModel> Trainable(const TinyModelOptions& options) {
  return TrainableModel::Create(*LoadTiny(options)).value();
}

std::vector<Sequence> MaskedSequences() {
  std::vector<Sequence> batch = RandomSequences(2, 6, 5);
  batch[1].loss_mask.assign(batch[1].tokens.size(), 1.0f);
  batch[1].loss_mask[2] = 0.0f;
  batch[1].loss_mask[4] = 0.5f;
  return batch;
}

class AllWeightsTest : public ::testing::TestWithParam<BaseCase> {};

// Along a direction near the gradient: every number adds to the derivative.
TEST_P(AllWeightsTest, GradientsMatchDifferencesInDouble) {
  const auto model = Trainable(GetParam().model);
  ModelTrainee trainee(*model);
  ThreadPool pool(2);
  const auto engine = GradientEngine::Create(model->model(), &pool).value();
  const std::vector<Sequence> batch = MaskedSequences();
  const auto result = trainee.Compute(*engine, batch, true);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->loss(), NaiveLoss(*model->model(), batch), 2e-6);

  ASSERT_EQ(trainee.parameters().size(), model->tensors().size());
  const std::vector<std::span<const float>> gradients = trainee.gradient();
  Rng rng(3);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const ParameterSpan& parameter = trainee.parameters()[i];
    ASSERT_EQ(gradients[i].size(), parameter.values.size()) << parameter.name;
    const std::vector<float> before(parameter.values.begin(), parameter.values.end());
    std::vector<double> direction(before.size());
    double squares = 0;
    for (size_t j = 0; j < direction.size(); ++j) {
      direction[j] = gradients[i][j] * (0.5 + rng.Uniform());
      squares += direction[j] * direction[j];
    }
    ASSERT_GT(squares, 0) << parameter.name;
    // What a step changes is rounded to float: the expectation takes the change as it is.
    double expected = 0;
    const auto loss_at = [&](double distance) {
      expected = 0;
      for (size_t j = 0; j < before.size(); ++j) {
        const double want = before[j] + distance * direction[j] / std::sqrt(squares);
        parameter.values[j] = static_cast<float>(want);
        expected += gradients[i][j] * (double{parameter.values[j]} - before[j]);
      }
      return NaiveLoss(*model->model(), batch);
    };
    const double step = 3e-3;
    const double up = loss_at(step), up_expected = expected;
    const double down = loss_at(-step), down_expected = expected;
    std::copy(before.begin(), before.end(), parameter.values.begin());
    const double want = up_expected - down_expected;
    EXPECT_NEAR(up - down, want, 3e-4 * std::abs(want)) << parameter.name;
  }
}

// The table's gradient is the sum of what it gets as input and as output.
TEST_P(AllWeightsTest, GradientsAreTheSameOnAnyNumberOfThreads) {
  const auto model = Trainable(GetParam().model);
  const std::vector<Sequence> batch = RandomSequences(5, 40, 9);
  std::vector<std::vector<float>> first;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const auto engine = GradientEngine::Create(model->model(), &pool).value();
    ModelTrainee trainee(*model);
    ASSERT_TRUE(trainee.Compute(*engine, batch, true).ok());
    // A second time into the same memory.
    ASSERT_TRUE(trainee.Compute(*engine, batch, true).ok());
    std::vector<std::vector<float>> all;
    for (const auto& span : trainee.gradient()) all.emplace_back(span.begin(), span.end());
    if (first.empty()) first = all;
    EXPECT_EQ(all, first) << threads;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Bases, AllWeightsTest,
    ::testing::Values(
        BaseCase{"Llama", {}},
        BaseCase{"LlamaUntiedRopeFactors", {.kv_heads = 1, .rope_freqs = true, .tied = false}},
        BaseCase{"Qwen", {.architecture = "qwen2"}},
        BaseCase{"QwenUntied", {.architecture = "qwen2", .kv_heads = 4, .tied = false}}),
    [](const auto& test) { return std::string(test.param.name); });

class TrainModelTest : public ::testing::Test {
 protected:
  TrainModelTest() {
    options_.max_steps = 6;
    options_.batch_size = 2;
    options_.learning_rate = 3e-3;
    options_.weight_decay = 0.1;
    options_.eval_every = 2;
  }
  // Bytes of the file that training leaves.
  std::string Run(const TrainOptions& options, const ProgressCallback& progress = nullptr) {
    const auto model = Trainable({.architecture = "qwen2"});
    result_ = TrainModel(*model, &pool_, clock_, train_, eval_, options, progress);
    if (!result_.ok()) return "";
    EXPECT_TRUE(model->Write(path_).ok());
    return ReadFile(path_).value();
  }

  ThreadPool pool_{2};
  SystemClock clock_;
  TrainOptions options_;
  std::vector<Sequence> train_ = RandomSequences(6, 12, 1), eval_ = RandomSequences(2, 12, 1);
  std::string folder_ = MakeTempDir("train-model");
  std::string path_ = folder_ + "/out.gguf";
  absl::StatusOr<TrainResult> result_ = absl::UnknownError("not run");
};

TEST_F(TrainModelTest, LearnsAndWritesWhatItJudged) {
  ASSERT_NE(Run(options_), "");
  ASSERT_EQ(result_->eval_loss.size(), 4u);
  const double best = result_->eval_loss.back().loss;
  EXPECT_LT(best, result_->eval_loss.front().loss - 0.2);
  EXPECT_TRUE(result_->adapter.matrices.empty());
  const auto loss = EvaluateLoss(Model::Load(path_).value(), &pool_, {}, eval_);
  ASSERT_TRUE(loss.ok()) << loss.status();
  EXPECT_NEAR(loss->loss(), best, 1e-6);
}

TEST_F(TrainModelTest, AKilledRunGoesOnToTheSameBytes) {
  const std::string whole = Run(options_);
  ASSERT_NE(whole, "");
  options_.checkpoint_dir = folder_ + "/checkpoints";
  options_.checkpoint_every = 1;
  ASSERT_NE(Run(options_, [](const TrainProgress& now) { return now.step < 3; }), "");
  EXPECT_EQ(result_->stopped_because, "cancelled");
  options_.resume = true;
  EXPECT_EQ(Run(options_), whole);
  EXPECT_EQ(result_->steps, 6);
}

// Of another base, a checkpoint is refused.
TEST_F(TrainModelTest, RefusesACheckpointOfAnotherBase) {
  options_.checkpoint_dir = folder_ + "/checkpoints";
  ASSERT_NE(Run(options_), "");
  options_.resume = true;
  const auto other = Trainable({.architecture = "qwen2", .seed = 2});
  const auto result = TrainModel(*other, &pool_, clock_, train_, eval_, options_);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition) << result.status();
}

TEST_F(TrainModelTest, RefusesArchitecturesWithoutABackwardPass) {
  const auto model = Trainable({.architecture = "qwen3"});
  const auto result = TrainModel(*model, &pool_, clock_, train_, eval_, options_);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("qwen3"));
}

TEST(ModelTraineeTest, OnlyMatricesDecay) {
  const auto model = Trainable({.architecture = "qwen2"});
  const ModelTrainee trainee(*model);
  for (const ParameterSpan& parameter : trainee.parameters()) {
    const std::string& name = parameter.name;
    EXPECT_EQ(parameter.decays, !name.ends_with("norm.weight") && !name.ends_with("bias")) << name;
  }
}

// Decay alone, of two spans of which one keeps out of it; and back.
TEST(ModelTraineeTest, AdamWDecaysWhatItIsTold) {
  std::vector<float> matrix(3, 2.0f), norm(2, 2.0f);
  const std::vector<float> zeros(3, 0.0f);
  const std::span<const float> gradients[] = {zeros, std::span(zeros).first(2)};
  const std::span<float> parameters[] = {matrix, norm};
  AdamW optimizer({.weight_decay = 0.5}, 5, {true, false});
  optimizer.Update(1, 0.1, 1.0, gradients, parameters);
  EXPECT_THAT(matrix, Each(FloatEq(1.9f)));
  EXPECT_THAT(norm, Each(2.0f));
  optimizer.Undo(1, 0.1, parameters);
  EXPECT_THAT(matrix, Each(FloatEq(2.0f)));
  EXPECT_THAT(norm, Each(2.0f));
}

}  // namespace
}  // namespace lorikeet
