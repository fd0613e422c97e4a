#include "device/trainer/train_many.h"

#include <atomic>
#include <cmath>
#include <limits>

#include "common/base/clock.h"
#include "device/trainer/parameters.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

// Learners of different data, schedules and lengths of training, some with held-out text.
struct Fleet {
  std::vector<std::vector<Sequence>> train, eval;
  std::vector<Learner> learners;
};

TrainOptions OptionsOf(int i) {
  TrainOptions options;
  options.max_steps = 3 + i;
  options.batch_size = 1 + i % 3;
  options.learning_rate = 1e-2;
  options.schedule = i % 2 == 0 ? Schedule::kCosine : Schedule::kConstant;
  options.eval_every = 2;
  options.keep_best = false;  // held-out text is random: the best adapter would be the first
  options.seed = static_cast<uint64_t>(i + 1);
  return options;
}

Fleet MakeFleet(const Model& model, int count) {
  Fleet fleet;
  for (int i = 0; i < count; ++i) {
    fleet.train.push_back(RandomSequences(4, 7 + 5 * i, static_cast<uint64_t>(10 + i)));
    fleet.eval.push_back(i % 2 == 0 ? std::vector<Sequence>()
                                    : RandomSequences(2, 9, static_cast<uint64_t>(50 + i)));
  }
  for (int i = 0; i < count; ++i) {
    AdapterSpec spec;
    spec.rank = 2 + i % 3;
    spec.kind = i == 2 ? AdapterKind::kCore : AdapterKind::kLora;
    spec.seed = static_cast<uint64_t>(i + 1);
    fleet.learners.push_back({.start = ActiveAdapter(model, spec),
                              .train = fleet.train[i],
                              .eval = fleet.eval[i],
                              .options = OptionsOf(i)});
  }
  return fleet;
}

std::vector<float> NumbersOf(Adapter adapter) { return Flatten(TrainedParameters(adapter)); }

// How far two ends are apart, relative to the way from the start.
double Distance(const Adapter& start, const Adapter& a, const Adapter& b) {
  const std::vector<float> from = NumbersOf(start), x = NumbersOf(a), y = NumbersOf(b);
  double apart = 0, way = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    apart += (x[i] - y[i]) * (x[i] - y[i]);
    way += (y[i] - from[i]) * (y[i] - from[i]);
  }
  return std::sqrt(apart / way);
}

class TrainManyTest : public testing::Test {
 protected:
  std::vector<absl::StatusOr<TrainResult>> Train(std::vector<Learner> learners,
                                                 const TrainManyOptions& options = {}) {
    auto results = TrainMany(model_, &pool_, clock_, std::move(learners), options);
    EXPECT_TRUE(results.ok()) << results.status();
    return *std::move(results);
  }

  std::shared_ptr<const Model> model_ = LoadTiny({.type = TensorType::kQ8_0});
  ThreadPool pool_{2};
  ManualClock clock_{absl::UnixEpoch()};
};

TEST_F(TrainManyTest, EachLearnerEndsAsItWouldAlone) {
  for (const TrainPrecision precision : {TrainPrecision::kExact, TrainPrecision::kFast}) {
    const Fleet fleet = MakeFleet(*model_, 5);
    const auto together = Train(fleet.learners, {.precision = precision});
    ASSERT_EQ(together.size(), fleet.learners.size());
    for (size_t i = 0; i < together.size(); ++i) {
      ASSERT_TRUE(together[i].ok()) << together[i].status();
      const Learner& learner = fleet.learners[i];
      TrainOptions options = learner.options;
      options.precision = precision;
      const auto alone = lorikeet::Train(model_, &pool_, clock_, learner.start, {}, learner.train,
                                         learner.eval, options);
      ASSERT_TRUE(alone.ok()) << alone.status();
      EXPECT_EQ(together[i]->steps, alone->steps);
      EXPECT_EQ(together[i]->tokens, alone->tokens);
      EXPECT_EQ(together[i]->stopped_because, alone->stopped_because);
      ASSERT_EQ(together[i]->eval_loss.size(), alone->eval_loss.size());
      // Products sum in another order beside other rows; 8-bit rounding then falls elsewhere for a
      // few numbers, and AdamW makes equal steps of gradients of any size.
      EXPECT_LT(Distance(learner.start, together[i]->adapter, alone->adapter),
                precision == TrainPrecision::kExact ? 1e-4 : 0.05)
          << "learner " << i;
    }
  }
}

TEST_F(TrainManyTest, TheSameLearnersEndWithTheSameBytes) {
  const Fleet fleet = MakeFleet(*model_, 5);
  const auto first = Train(fleet.learners, {.precision = TrainPrecision::kFast});
  const auto second = Train(fleet.learners, {.precision = TrainPrecision::kFast});
  for (size_t i = 0; i < first.size(); ++i) {
    ASSERT_TRUE(first[i].ok() && second[i].ok());
    EXPECT_EQ(NumbersOf(first[i]->adapter), NumbersOf(second[i]->adapter)) << "learner " << i;
  }
}

TEST_F(TrainManyTest, AnotherLearnersTroubleStaysItsOwn) {
  Fleet fleet = MakeFleet(*model_, 4);
  const auto expected = Train({fleet.learners[0], fleet.learners[3]});
  fleet.learners[1].train = {};  // refused before it begins
  // Its loss is not finite at the first step.
  fleet.learners[2].start.matrices[0].core[0] = std::numeric_limits<float>::quiet_NaN();
  const auto results = Train(fleet.learners);
  EXPECT_EQ(results[1].status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(results[2].ok());
  for (const int i : {0, 3}) {
    ASSERT_TRUE(results[i].ok()) << results[i].status();
    EXPECT_LT(
        Distance(fleet.learners[i].start, results[i]->adapter, expected[i == 0 ? 0 : 1]->adapter),
        1e-4);
  }
}

TEST_F(TrainManyTest, RefusesMoreThanTheMemoryLimitNamingTheLeast) {
  const Fleet fleet = MakeFleet(*model_, 2);
  const auto results = Train(fleet.learners, {.max_memory_bytes = 1000});
  for (const auto& result : results) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_NE(result.status().message().find("at least"), std::string::npos) << result.status();
  }
}

TEST_F(TrainManyTest, AGovernorStopsAllOfThemAndWhatWasLearnedStays) {
  Fleet fleet = MakeFleet(*model_, 3);
  std::atomic<bool> stop = false;
  for (Learner& learner : fleet.learners) {
    learner.options.max_steps = 1'000'000;
    learner.progress = [&stop](const TrainProgress& now) {
      if (now.step >= 2) stop = true;
      return true;
    };
  }
  PausingGovernor governor({.stopped = [&stop] { return stop.load(); }});
  const auto results = Train(fleet.learners, {.governor = &governor});
  for (size_t i = 0; i < results.size(); ++i) {
    ASSERT_TRUE(results[i].ok()) << results[i].status();
    EXPECT_EQ(results[i]->stopped_because, "cancelled");
    EXPECT_GE(results[i]->steps, 1);
    EXPECT_NE(NumbersOf(results[i]->adapter), NumbersOf(fleet.learners[i].start));
  }
}

TEST_F(TrainManyTest, RefusesNoLearnerAndLimitsOfOne) {
  EXPECT_EQ(TrainMany(model_, &pool_, clock_, {}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  Fleet fleet = MakeFleet(*model_, 2);
  fleet.learners[1].options.max_memory_bytes = 1 << 30;
  EXPECT_EQ(TrainMany(model_, &pool_, clock_, fleet.learners, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
