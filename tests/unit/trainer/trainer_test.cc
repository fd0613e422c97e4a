#include "device/trainer/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "device/trainer/adamw.h"
#include "device/trainer/batch_sampler.h"
#include "device/trainer/checkpoint.h"
#include "device/trainer/parameters.h"
#include "tests/support/shared_data.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadTiny();
    start_ = *MakeAdapter(*model_, {.rank = 4});
    train_ = RandomSequences(5, 10, 1);
    eval_ = RandomSequences(2, 10, 2);
    options_.max_steps = 7;
    options_.batch_size = 2;
    options_.learning_rate = 1e-2;
  }

  absl::StatusOr<TrainResult> Run(const ProgressCallback& progress = nullptr) {
    return Train(model_, &pool_, clock_, start_, frozen_, train_, eval_, options_, progress);
  }

  ThreadPool pool_{2};
  ManualClock clock_;
  std::shared_ptr<const Model> model_;
  Adapter start_;
  std::vector<AdapterRef> frozen_;
  std::vector<Sequence> train_, eval_;
  TrainOptions options_;
};

TEST_F(TrainerTest, LearnsItsTextByHeart) {
  eval_.clear();
  options_.max_steps = 60;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps, 60);
  EXPECT_EQ(result->stopped_because, "steps");
  ASSERT_EQ(result->train_loss.size(), 60u);
  EXPECT_LT(result->train_loss.back().loss, 0.6 * result->train_loss.front().loss);
  EXPECT_TRUE(result->eval_loss.empty());
  EXPECT_GT(result->working_set_bytes, 0);
}

TEST_F(TrainerTest, TrainsOnlyTheCoreOfACoreAdapter) {
  start_ = *MakeAdapter(*model_, {.kind = AdapterKind::kCore, .rank = 4});
  eval_.clear();
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  for (size_t i = 0; i < start_.matrices.size(); ++i) {
    EXPECT_EQ(result->adapter.matrices[i].a, start_.matrices[i].a);
    EXPECT_EQ(result->adapter.matrices[i].b, start_.matrices[i].b);
    EXPECT_NE(result->adapter.matrices[i].core, start_.matrices[i].core);
  }
}

TEST_F(TrainerTest, EpochsGoOverAllTheData) {
  options_.max_steps = 0;
  options_.epochs = 2;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps, 6);  // 5 sequences in batches of 2, twice
  EXPECT_EQ(result->stopped_because, "epochs");
  EXPECT_EQ(result->tokens, 2 * (10 + 13 + 16 + 19 + 22));
  ASSERT_EQ(result->eval_loss.size(), 3u);
  EXPECT_EQ(result->eval_loss[0].step, 0);
  EXPECT_EQ(result->eval_loss[1].step, 3);
}

TEST_F(TrainerTest, SameInputsGiveTheSameBytes) {
  const auto first = Run();
  const auto second = Run();
  options_.seed = 2;
  const auto other = Run();
  ASSERT_TRUE(first.ok() && second.ok() && other.ok());
  EXPECT_EQ(SerializeAdapter(first->adapter), SerializeAdapter(second->adapter));
  EXPECT_NE(SerializeAdapter(first->adapter), SerializeAdapter(other->adapter));
}

TEST_F(TrainerTest, KeepsTheBestEvaluatedAdapter) {
  options_.max_steps = 40;
  options_.learning_rate = 0.05;
  options_.eval_every = 4;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  double best = result->eval_loss[0].loss;
  for (const LossPoint& point : result->eval_loss) best = std::min(best, point.loss);
  EXPECT_LT(best, result->eval_loss.back().loss) << "random text should be overfitted";
  const AdapterRef kept{&result->adapter, 1.0f};
  EXPECT_NEAR(EvaluateLoss(model_, &pool_, {&kept, 1}, eval_)->loss(), best, 1e-6);
}

TEST_F(TrainerTest, StopsWhenEvaluationsNoLongerImprove) {
  options_.max_steps = 1000;
  options_.learning_rate = 0.05;
  options_.eval_every = 2;
  options_.patience = 3;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stopped_because, "patience");
  EXPECT_LT(result->steps, 1000);
}

TEST_F(TrainerTest, StopsAtTheTimeLimitAndOnCancel) {
  options_.max_duration = absl::Seconds(5);
  const auto timed = Run([this](const TrainProgress& now) {
    if (now.step > 0) clock_.Advance(absl::Seconds(2));
    return true;
  });
  ASSERT_TRUE(timed.ok()) << timed.status();
  EXPECT_EQ(timed->stopped_because, "time");
  EXPECT_EQ(timed->steps, 3);
  EXPECT_EQ(timed->eval_loss.back().step, 3);
  const auto cancelled = Run([](const TrainProgress& progress) { return progress.step < 2; });
  ASSERT_TRUE(cancelled.ok());
  EXPECT_EQ(cancelled->stopped_because, "cancelled");
  EXPECT_EQ(cancelled->steps, 2);
}

TEST_F(TrainerTest, NonFiniteLossKeepsTheLastGoodState) {
  start_.info.alpha = 1e30f;  // the first step makes B what no activation survives
  const auto best = Run();    // whose first evaluation finds it out
  eval_.clear();
  const auto result = Run();
  ASSERT_TRUE(best.ok() && result.ok()) << best.status() << result.status();
  EXPECT_EQ(SerializeAdapter(best->adapter), SerializeAdapter(start_));
  for (const auto* stopped : {&*best, &*result}) {
    EXPECT_EQ(stopped->stopped_because, "non-finite");
    EXPECT_EQ(stopped->steps, 1);
    EXPECT_THAT(stopped->failure, HasSubstr("step 2: "));
    EXPECT_THAT(stopped->failure, HasSubstr("blk."));
  }
  ASSERT_EQ(result->adapter.matrices.size(), start_.matrices.size());
  for (size_t i = 0; i < start_.matrices.size(); ++i) {
    const AdapterMatrix& good = start_.matrices[i];
    const AdapterMatrix& kept = result->adapter.matrices[i];
    for (size_t j = 0; j < good.a.size(); ++j) ASSERT_NEAR(kept.a[j], good.a[j], 1e-7);
    for (size_t j = 0; j < good.b.size(); ++j) ASSERT_NEAR(kept.b[j], good.b[j], 1e-7);
  }
}

TEST_F(TrainerTest, ALossThatIsNotFiniteFromTheStartIsAnError) {
  start_ = ActiveAdapter(*model_, {.rank = 4, .alpha = 1e38f});
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("step 1: "));
}

TEST_F(TrainerTest, RefusesBadOptionsAndEmptyData) {
  TrainOptions good = options_;
  for (const double rate : {-1.0, 0.0, 1.5, std::nan("")}) {
    options_.learning_rate = rate;
    EXPECT_EQ(Run().status().code(), absl::StatusCode::kInvalidArgument) << rate;
  }
  options_ = good;
  options_.batch_size = 0;
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kInvalidArgument);
  options_ = good;
  options_.max_memory_bytes = 1000;
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kResourceExhausted);
  options_ = good;
  train_ = {{.tokens = {5}, .loss_mask = {}}};
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kInvalidArgument);
  train_.clear();
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kInvalidArgument);
}

class ResumeTest : public TrainerTest {
 protected:
  void SetUp() override {
    TrainerTest::SetUp();
    persona_ = ActiveAdapter(*model_, {.kind = AdapterKind::kCore, .rank = 3, .seed = 4});
    frozen_ = {{&persona_, 0.7f}};
    options_.checkpoint_dir = MakeTempDir("trainer-test");
    options_.checkpoint_every = 1;
    options_.eval_every = 2;
    options_.warmup_steps = 2;
  }
  std::string checkpoint() const { return CheckpointPath(options_.checkpoint_dir); }

  Adapter persona_;
};

// A checkpoint is replaced atomically, so a kill at any moment leaves one of those written; each
// must lead to the same end.
TEST_F(ResumeTest, EveryCheckpointLeadsToTheSameBytes) {
  std::vector<std::string> checkpoints;
  const auto whole = Run([&](const TrainProgress&) {
    if (FileExists(checkpoint())) checkpoints.push_back(*ReadFile(checkpoint()));
    return true;
  });
  ASSERT_TRUE(whole.ok()) << whole.status();
  checkpoints.push_back(*ReadFile(checkpoint()));
  ASSERT_EQ(checkpoints.size(), 7u);
  options_.resume = true;
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    ASSERT_TRUE(WriteFileAtomic(checkpoint(), checkpoints[i]).ok());
    const auto resumed = Run();
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_EQ(SerializeAdapter(resumed->adapter), SerializeAdapter(whole->adapter)) << i;
    EXPECT_EQ(resumed->tokens, whole->tokens);
    ASSERT_EQ(resumed->train_loss.size(), whole->train_loss.size());
    EXPECT_EQ(resumed->train_loss.back().loss, whole->train_loss.back().loss);
    EXPECT_EQ(resumed->eval_loss.size(), whole->eval_loss.size());
    EXPECT_EQ(*ReadFile(checkpoint()), checkpoints.back()) << i;
  }
}

TEST_F(ResumeTest, ACancelledRunGoesOnAsIfItHadNotStopped) {
  options_.checkpoint_every = 100;
  const auto whole = Run();
  std::filesystem::remove(checkpoint());
  options_.resume = true;  // with nothing there: from the start
  ASSERT_TRUE(Run([](const TrainProgress& progress) { return progress.step < 3; }).ok());
  const auto resumed = Run();
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(SerializeAdapter(resumed->adapter), SerializeAdapter(whole->adapter));
  EXPECT_EQ(resumed->eval_loss.size(), whole->eval_loss.size());
}

TEST_F(ResumeTest, RefusesACheckpointOfAnotherRunByName) {
  ASSERT_TRUE(Run().ok());
  options_.resume = true;
  const auto refusal = [this] {
    const absl::Status status = Run().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    return std::string(status.message());
  };
  options_.learning_rate *= 2;
  EXPECT_THAT(refusal(), HasSubstr("expected learning_rate=0.02, got learning_rate=0.01"));
  options_.learning_rate /= 2;
  options_.accumulate = 2;
  EXPECT_THAT(refusal(), HasSubstr("expected accumulate=2, got accumulate=1"));
  options_.accumulate = 1;
  frozen_[0].scale = 0.8f;
  EXPECT_THAT(refusal(), HasSubstr("frozen adapters"));
  frozen_[0].scale = 0.7f;
  std::swap(train_, eval_);
  EXPECT_THAT(refusal(), HasSubstr("data"));
  std::swap(train_, eval_);
  start_.matrices[0].a[0] += 1;
  EXPECT_THAT(refusal(), HasSubstr("starting adapter"));
  start_.matrices[0].a[0] -= 1;
  const std::string old_fingerprint = model_->fingerprint();
  model_ = LoadTiny({.seed = 99});
  start_.info.base_fingerprint = model_->fingerprint();
  persona_.info.base_fingerprint = model_->fingerprint();
  const std::string message = refusal();
  EXPECT_THAT(message, HasSubstr(old_fingerprint));
  EXPECT_THAT(message, HasSubstr(model_->fingerprint()));
}

TEST_F(ResumeTest, DamagedCheckpointsAreErrors) {
  ASSERT_TRUE(Run().ok());
  const std::string good = *ReadFile(checkpoint());
  options_.resume = true;
  for (const size_t at : {good.size() - 1, good.size() / 2, size_t{300}}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    ASSERT_TRUE(WriteFileAtomic(checkpoint(), bad).ok());
    EXPECT_EQ(Run().status().code(), absl::StatusCode::kDataLoss) << at;
  }
  for (const size_t size : {good.size() - 1, good.size() / 2, size_t{240}, size_t{12}}) {
    ASSERT_TRUE(WriteFileAtomic(checkpoint(), good.substr(0, size)).ok());
    EXPECT_EQ(Run().status().code(), absl::StatusCode::kDataLoss) << size;
  }
  std::string bad = good;
  bad[8] = 9;  // the version
  ASSERT_TRUE(WriteFileAtomic(checkpoint(), bad).ok());
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(WriteFileAtomic(checkpoint(), "something else").ok());
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MakeAdapterTest, FreshAdaptersHaveNoEffect) {
  const auto model = LoadTiny();
  ThreadPool pool(1);
  const std::vector<Sequence> batch = RandomSequences(2, 12, 3);
  const double base = EvaluateLoss(model, &pool, {}, batch)->loss();
  for (const AdapterKind kind : {AdapterKind::kLora, AdapterKind::kCore}) {
    const auto adapter = MakeAdapter(*model, {.kind = kind, .rank = 4});
    ASSERT_TRUE(adapter.ok());
    EXPECT_EQ(adapter->matrices.size(), 2u * kModuleCount);
    const AdapterRef ref{&*adapter, 1.0f};
    EXPECT_EQ(EvaluateLoss(model, &pool, {&ref, 1}, batch)->loss(), base);
  }
}

TEST(MakeAdapterTest, CoreFactorsAreOrthonormal) {
  const auto model = LoadTiny();
  const auto adapter = MakeAdapter(*model, {.kind = AdapterKind::kCore, .rank = 6});
  ASSERT_TRUE(adapter.ok());
  for (const AdapterMatrix& matrix : adapter->matrices) {
    for (int i = 0; i < 6; ++i) {
      for (int j = 0; j < 6; ++j) {
        double a = 0, b = 0;
        for (int k = 0; k < matrix.in_features; ++k) {
          a += double(matrix.a[i * matrix.in_features + k]) * matrix.a[j * matrix.in_features + k];
        }
        for (int k = 0; k < matrix.out_features; ++k) {
          b += double(matrix.b[k * 6 + i]) * matrix.b[k * 6 + j];
        }
        EXPECT_NEAR(a, i == j ? 1 : 0, 1e-6);
        EXPECT_NEAR(b, i == j ? 1 : 0, 1e-6);
      }
    }
  }
}

TEST(MakeAdapterTest, RefusesARankLargerThanAMatrix) {
  const auto model = LoadTiny();
  EXPECT_EQ(MakeAdapter(*model, {.rank = 1000}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeAdapter(*model, {.rank = 0}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(AdamWTest, FirstStepMovesByTheLearningRate) {
  AdamW optimizer({.weight_decay = 0.5}, 2);
  std::vector<float> values = {1.0f, -2.0f};
  const std::vector<float> gradient = {3.0f, -0.25f};
  const std::span<const float> gradients[] = {gradient};
  const std::span<float> parameters[] = {values};
  optimizer.Update(1, 0.1, 1.0, gradients, parameters);
  // p -= lr * decay * p; then mhat / sqrt(vhat) is the gradient's sign.
  EXPECT_NEAR(values[0], 1.0 * 0.95 - 0.1, 1e-6);
  EXPECT_NEAR(values[1], -2.0 * 0.95 + 0.1, 1e-6);
}

TEST(AdamWTest, UndoTakesTheLastUpdateBack) {
  AdamW optimizer({.weight_decay = 0.5}, 1000);
  Rng rng(1);
  std::vector<float> values(1000), gradient(1000);
  for (float& value : values) value = static_cast<float>(rng.Normal());
  const std::span<const float> gradients[] = {gradient};
  const std::span<float> parameters[] = {values};
  std::vector<float> before;
  for (int step = 1; step <= 5; ++step) {
    for (float& value : gradient) value = static_cast<float>(rng.Normal());
    before = values;
    optimizer.Update(step, 0.1, 0.5, gradients, parameters);
  }
  EXPECT_NE(values, before);
  optimizer.Undo(5, 0.1, parameters);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(values[i], before[i], 1e-6 * std::max(1.0f, std::abs(before[i])));
  }
}

TEST(ScheduleTest, WarmsUpThenFalls) {
  TrainOptions options;
  options.learning_rate = 1.0;
  options.warmup_steps = 4;
  for (const Schedule schedule : {Schedule::kConstant, Schedule::kLinear, Schedule::kCosine}) {
    options.schedule = schedule;
    for (int step = 1; step <= 4; ++step) {
      EXPECT_NEAR(LearningRateAt(options, step, 14), step / 5.0, 1e-12);
    }
    EXPECT_NEAR(LearningRateAt(options, 5, 14), 1.0, 1e-12);
    EXPECT_GT(LearningRateAt(options, 14, 14), 0.0);
  }
  options.schedule = Schedule::kLinear;
  EXPECT_NEAR(LearningRateAt(options, 10, 14), 0.5, 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 14, 14), 0.1, 1e-12);
  options.schedule = Schedule::kCosine;
  EXPECT_NEAR(LearningRateAt(options, 10, 14), 0.5, 1e-12);
}

TEST(BatchSamplerTest, EveryEpochCoversAllOnce) {
  BatchSampler sampler(7, 3, 5);
  EXPECT_EQ(sampler.batches_per_epoch(), 3u);
  std::vector<size_t> orders[2];
  for (auto& order : orders) {
    for (int i = 0; i < 3; ++i) {
      const auto batch = sampler.Next();
      order.insert(order.end(), batch.begin(), batch.end());
    }
    EXPECT_EQ(std::set<size_t>(order.begin(), order.end()).size(), 7u);
    EXPECT_EQ(order.size(), 7u);
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(BatchSamplerTest, GoesOnFromItsState) {
  BatchSampler sampler(7, 3, 5);
  for (int i = 0; i < 5; ++i) sampler.Next();
  BatchSampler other(7, 3, 6);
  other.Restore(sampler.state());
  for (int i = 0; i < 9; ++i) {
    const auto expected = sampler.Next();
    const auto got = other.Next();
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), got.begin(), got.end()));
  }
}

}  // namespace
}  // namespace lorikeet
