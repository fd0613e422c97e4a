// Accumulation, limits, memory, and disks that are full.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <filesystem>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "device/trainer/checkpoint.h"
#include "device/trainer/trainer.h"
#include "tests/support/shared_data.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

// While it lives, files cannot grow beyond `bytes`: writes say EFBIG, as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

class TrainingRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadTiny();
    start_ = ActiveAdapter(*model_, {.rank = 4});
    train_ = RandomSequences(8, 10, 1);
    eval_ = RandomSequences(2, 10, 2);
    options_.max_steps = 6;
    options_.batch_size = 2;
    options_.learning_rate = 1e-2;
    options_.eval_every = 2;
    directory_ = MakeTempDir("training-run-test");
  }

  absl::StatusOr<TrainResult> Run(const ProgressCallback& progress = nullptr) {
    return Train(model_, &pool_, clock_, start_, {}, train_, eval_, options_, progress);
  }
  std::string Trained() {
    const auto result = Run();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? SerializeAdapter(result->adapter) : "";
  }

  ThreadPool pool_{2};
  ManualClock clock_;
  std::shared_ptr<const Model> model_;
  Adapter start_;
  std::vector<Sequence> train_, eval_;
  TrainOptions options_;
  std::string directory_;
};

TEST_F(TrainingRunTest, BatchesOfAStepAddUpToOneBatch) {
  // Sequences of unlike weights, so that a plain mean over batches would be another step.
  for (size_t i = 0; i < train_.size(); ++i) {
    train_[i].loss_mask.assign(train_[i].tokens.size(), i % 2 == 0 ? 1.0f : 0.25f);
  }
  options_.batch_size = 4;
  const auto whole = Run();
  ASSERT_TRUE(whole.ok()) << whole.status();
  options_.batch_size = 1;
  options_.accumulate = 4;
  const auto parts = Run();
  ASSERT_TRUE(parts.ok()) << parts.status();
  ASSERT_EQ(parts->records.size(), whole->records.size());
  for (size_t i = 0; i < whole->records.size(); ++i) {
    EXPECT_NEAR(parts->records[i].loss, whole->records[i].loss, 1e-4) << i;
    EXPECT_NEAR(parts->records[i].gradient_norm / whole->records[i].gradient_norm, 1, 1e-3) << i;
    EXPECT_EQ(parts->records[i].tokens, whole->records[i].tokens);
  }
  EXPECT_NEAR(parts->records[0].loss, whole->records[0].loss, 1e-6);
  EXPECT_NEAR(parts->records[0].gradient_norm / whole->records[0].gradient_norm, 1, 1e-5);
  EXPECT_EQ(SerializeAdapter(parts->adapter), Trained()) << "deterministic";
}

TEST_F(TrainingRunTest, AccumulationGoesOnFromEveryCheckpoint) {
  options_.accumulate = 2;
  options_.checkpoint_dir = directory_;
  options_.checkpoint_every = 1;
  std::vector<std::string> checkpoints;
  const auto whole = Run([&](const TrainProgress& now) {
    if (now.step > 1) checkpoints.push_back(*ReadFile(CheckpointPath(directory_)));
    return true;
  });
  ASSERT_TRUE(whole.ok()) << whole.status();
  checkpoints.push_back(*ReadFile(CheckpointPath(directory_)));
  ASSERT_EQ(checkpoints.size(), 6u);
  options_.resume = true;
  for (const std::string& checkpoint : checkpoints) {
    ASSERT_TRUE(WriteFileAtomic(CheckpointPath(directory_), checkpoint).ok());
    EXPECT_EQ(Trained(), SerializeAdapter(whole->adapter));
  }
}

TEST_F(TrainingRunTest, RecordsTellEveryStep) {
  options_.warmup_steps = 1;
  options_.checkpoint_dir = directory_;
  std::vector<int> reported;
  const auto result = Run([&](const TrainProgress& now) {
    reported.push_back(now.step);
    EXPECT_EQ(now.record.step, now.step);
    EXPECT_EQ(now.eval_loss.has_value(), now.step % 2 == 0);
    return now.step < 4;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(reported, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(result->stopped_because, "cancelled");
  options_.resume = true;
  const auto resumed = Run();
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  ASSERT_EQ(resumed->records.size(), 6u);
  for (int i = 0; i < 6; ++i) {
    const StepRecord& record = resumed->records[i];
    EXPECT_EQ(record.step, i + 1);
    EXPECT_DOUBLE_EQ(record.epoch, (i + 1) / 4.0);
    EXPECT_GT(record.gradient_norm, 0);
    EXPECT_GT(record.learning_rate, 0);
    EXPECT_GT(record.tokens, 0);
    if (i >= 4) continue;
    EXPECT_EQ(record.gradient_norm, result->records[i].gradient_norm);
    EXPECT_EQ(record.learning_rate, result->records[i].learning_rate);
  }
  EXPECT_GT(resumed->records.back().working_set_bytes, 0);
}

TEST_F(TrainingRunTest, ParametersOnDiskAreThoseInMemory) {
  const std::string in_memory = Trained();
  options_.spill_dir = directory_;
  EXPECT_EQ(Trained(), in_memory);
  EXPECT_TRUE(std::filesystem::is_empty(directory_)) << "nothing is left";
  options_.spill_dir = directory_ + "/absent";
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(options_.spill_dir));
}

TEST_F(TrainingRunTest, AFullDiskForTheBestParametersIsSaidBeforeTraining) {
  options_.spill_dir = directory_;
  const FullDisk full(4096);
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(directory_));
}

TEST_F(TrainingRunTest, AFullDiskKeepsTheLastCheckpointAndTheResult) {
  const std::string whole = Trained();
  options_.checkpoint_dir = directory_;
  options_.checkpoint_every = 1;
  std::optional<FullDisk> full;
  const auto stopped = Run([&](const TrainProgress& now) {
    if (now.step == 4) full.emplace(4096);
    return true;
  });
  full.reset();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->stopped_because, "checkpoint");
  EXPECT_EQ(stopped->steps, 4);
  EXPECT_THAT(stopped->failure, HasSubstr("step 4: no checkpoint could be written"));
  EXPECT_THAT(stopped->failure, HasSubstr("that of step 3 is kept"));
  options_.resume = true;
  EXPECT_EQ(Trained(), whole);
  // What was learned is the result, not what was saved.
  options_.checkpoint_dir.clear();
  options_.checkpoint_every = 10;
  const auto same = Run([](const TrainProgress& now) { return now.step < 4; });
  EXPECT_EQ(SerializeAdapter(stopped->adapter), SerializeAdapter(same->adapter));
}

TEST_F(TrainingRunTest, HalfWrittenCheckpointsOfKilledRunsAreRemoved) {
  const std::string leftover = CheckpointPath(directory_) + ".tmp.12345";
  ASSERT_TRUE(WriteFileAtomic(leftover, "half").ok());
  options_.checkpoint_dir = directory_;
  const auto lock = OpenCheckpointDirectory(directory_);
  ASSERT_TRUE(lock.ok());
  EXPECT_FALSE(FileExists(leftover));
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(TrainingRunTest, MemoryStaysNearThePredictionAndBelowTheLimit) {
  // Large enough to stand out from what the process holds anyway.
  train_ = RandomSequences(8, 200, 1);
  options_.batch_size = 8;
  options_.max_steps = 2;
  options_.spill_dir = directory_;
  const auto roomy = Run();
  ASSERT_TRUE(roomy.ok()) << roomy.status();
  options_.max_memory_bytes = 1000;
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const std::string message(status.message());
  const size_t at = message.find("at least ");
  ASSERT_NE(at, std::string::npos) << message;
  const int64_t least = std::stoll(message.substr(at + 9));
  // What the process holds may differ by a little from one call to the next.
  options_.max_memory_bytes = least + (int64_t{1} << 20);
  const auto tight = Run();
  ASSERT_TRUE(tight.ok()) << tight.status();
  EXPECT_LE(tight->predicted_working_set_bytes, options_.max_memory_bytes);
  EXPECT_LE(tight->working_set_bytes, 1.1 * options_.max_memory_bytes);
  EXPECT_EQ(SerializeAdapter(tight->adapter), SerializeAdapter(roomy->adapter));
}

// Rests as long as the test says, and stops at a given call.
class FakeGovernor final : public TrainingGovernor {
 public:
  absl::Status AtPausePoint() override {
    ++calls;
    if (rest) paused += rest();
    return calls == stop_at ? absl::CancelledError("stop") : error;
  }
  absl::Duration paused_time() const override { return paused; }

  int calls = 0;
  int stop_at = -1;
  absl::Status error;
  std::function<absl::Duration()> rest;
  absl::Duration paused = absl::Hours(1);  // before this run
};

TEST_F(TrainingRunTest, PausedTimeDoesNotCount) {
  FakeGovernor governor;
  governor.rest = [this] {
    clock_.Advance(absl::Seconds(100));
    return absl::Seconds(100);
  };
  options_.governor = &governor;
  options_.max_duration = absl::Seconds(5);
  const auto result = Run([this](const TrainProgress& now) {
    if (now.step > 0) clock_.Advance(absl::Seconds(2));
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stopped_because, "time");
  EXPECT_EQ(result->steps, 3);
  EXPECT_GE(result->paused_seconds, 300);
  EXPECT_NEAR(result->seconds - result->paused_seconds, 6, 1e-6);
}

TEST_F(TrainingRunTest, AStepThatIsStoppedIsDropped) {
  options_.checkpoint_dir = directory_;
  const std::string whole = Trained();
  for (int stop_at = 1; stop_at < 12; ++stop_at) {
    std::filesystem::remove(CheckpointPath(directory_));
    FakeGovernor governor;
    governor.stop_at = stop_at;
    options_.governor = &governor;
    options_.resume = true;
    const auto stopped = Run();
    ASSERT_TRUE(stopped.ok()) << stopped.status();
    EXPECT_EQ(stopped->stopped_because, "cancelled");
    EXPECT_LT(stopped->steps, 6);
    options_.governor = nullptr;
    EXPECT_EQ(Trained(), whole) << stop_at;
  }
}

TEST_F(TrainingRunTest, AnErrorOfTheGovernorEndsTraining) {
  FakeGovernor governor;
  governor.error = absl::PermissionDeniedError("battery is low");
  options_.governor = &governor;
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kPermissionDenied);
}

class FakeMeter final : public EnergyMeter {
 public:
  double Joules() override { return joules; }
  std::string_view source() const override { return "test"; }
  double joules = 50;  // before this run
};

TEST_F(TrainingRunTest, StopsWhenItsEnergyIsSpent) {
  options_.max_joules = 5;
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kInvalidArgument) << "a limit without a meter";
  FakeMeter meter;
  options_.energy = &meter;
  const auto result = Run([&](const TrainProgress& now) {
    if (now.step > 0) meter.joules += 2;
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stopped_because, "energy");
  EXPECT_EQ(result->steps, 4);  // after the third, 4 J were known to be spent
  EXPECT_DOUBLE_EQ(result->joules, 8);
}

}  // namespace
}  // namespace lorikeet
