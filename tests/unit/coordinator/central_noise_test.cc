#include "coordinator/rounds/central_noise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/encoder.h"
#include "common/sqlite/database.h"
#include "common/wire/decode.h"
#include "coordinator/rounds/describe_round.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

constexpr int kDevices = 5;

FleetOptions CentralFleet(int rounds) {
  // As if a device contributed once: the noise is then correlated most.
  return {.rounds = rounds, .noise_multiplier = 0.05, .noise = "central", .separation = rounds};
}

std::vector<TestDevice> Devices(TestFleet* fleet) {
  std::vector<TestDevice> devices;
  for (int i = 0; i < kDevices; ++i) devices.emplace_back(fleet, i);
  return devices;
}

template <typename Step>
void All(std::vector<TestDevice>& devices, const Step& step) {
  for (TestDevice& device : devices) {
    const absl::Status status = step(device);
    EXPECT_TRUE(status.ok()) << device.id() << ": " << status;
  }
}

// A whole round over the newest catalog: one device adds 0.5 to the first persona, the others to
// the second.  `between` is called before every message.
template <typename Between>
void RunRound(TestFleet* fleet, std::vector<TestDevice>& devices, const Between& between) {
  const uint64_t version = fleet->LatestCatalog().version;
  const auto each = [&](const auto& step) {
    All(devices, [&](TestDevice& device) {
      between();
      return step(device);
    });
  };
  each([&](TestDevice& d) { return d.Join(version); });
  each([](TestDevice& d) { return d.Share(); });
  each([](TestDevice& d) { return d.Mask(d.id() == "device-0" ? 0 : 1, 0.5f); });
  each([](TestDevice& d) { return d.Acknowledge(); });
  each([](TestDevice& d) { return d.Unmask(); });
}

void RunRound(TestFleet* fleet, std::vector<TestDevice>& devices) {
  RunRound(fleet, devices, [] {});
}

RoundDescription DescriptionOf(const RoundRecord& record) {
  RoundDescription round = DecodeRoundDescription(record.description.description).value();
  round.secagg.session = record.session;
  return round;
}

// By another way than the coordinator's: the state's seed, and the noise in plain real numbers.
std::vector<double> NextNoise(TestFleet* fleet) {
  const NoiseRecord record = fleet->store().FindNoise("voices").value().value();
  return CorrelatedNoise::Restore(std::string_view(record.state).substr(32))->Next().value();
}

TEST(CentralNoiseTest, WhatIsReleasedIsTheSumAndTheNoiseOfTheStoredSeed) {
  TestFleet fleet(CentralFleet(3));
  auto devices = Devices(&fleet);
  std::vector<float> before(8, 0.0f);  // the catalog's numbers
  for (int step = 0; step < 3; ++step) {
    SCOPED_TRACE(step);
    std::vector<double> noise;
    RunRound(&fleet, devices, [&] {
      if (noise.empty() && fleet.store().FindNoise("voices").value()) noise = NextNoise(&fleet);
    });
    const RoundRecord record = fleet.LatestRound();
    ASSERT_EQ(record.status, RoundStatus::kDone) << record.message;
    const RoundDescription round = DescriptionOf(record);
    EXPECT_EQ(round.central->step, step);
    EXPECT_EQ(round.encoding.sigma_local, 0);
    const Catalog catalog = fleet.LatestCatalog();
    const double deviation = CentralDeviation(*round.central, step, round.encoding);
    EXPECT_GT(deviation, 0.5);  // far above the grid, which is all that the sums differ by
    const double grid = 0.05;
    const auto report = nlohmann::json::parse(record.report);
    for (size_t k = 0; k < 2; ++k) {
      const double devices_of = k == 0 ? 1 : 4;
      const double count =
          (devices_of * round.layout.count_weight + noise[8 + k]) / round.layout.count_weight;
      const auto& told = report["personas"][k];
      EXPECT_NEAR(told["noisy_count"].get<double>(), count, grid);
      for (size_t j = 0; j < 4; ++j) {
        const double learned = (0.5 * devices_of + noise[4 * k + j]) / std::max(count, 1.0);
        float& number = before[4 * k + j];
        EXPECT_NEAR(catalog.personas[k].cores[j],
                    number + (told["applied"].get<bool>() ? learned : 0), grid)
            << k << " " << j;
        number = catalog.personas[k].cores[j];
      }
    }
  }
}

TEST(CentralNoiseTest, TheWholeTaskIsChargedOnceAndTheSeedGoesWithItsLastStep) {
  TestFleet fleet(CentralFleet(2));
  auto devices = Devices(&fleet);
  RunRound(&fleet, devices);
  const RoundDescription first = DescriptionOf(fleet.LatestRound());
  EXPECT_DOUBLE_EQ(first.epsilon, GaussianEpsilon(0.05, 1, first.delta).value());
  const std::string halfway = fleet.store().FindNoise("voices").value()->state;
  RunRound(&fleet, devices);
  const RoundDescription second = DescriptionOf(fleet.LatestRound());
  EXPECT_EQ(second.central->mechanism, first.central->mechanism);
  EXPECT_EQ(second.epsilon, first.epsilon);
  const auto ledger = fleet.store().ListLedger("voices").value();
  ASSERT_EQ(ledger.size(), 2u);
  EXPECT_EQ(ledger[0].epsilon, first.epsilon);
  EXPECT_EQ(ledger[1].epsilon, 0);
  EXPECT_TRUE(ledger[0].spent && ledger[1].spent);
  const std::string end = fleet.store().FindNoise("voices").value()->state;
  EXPECT_NE(halfway.substr(halfway.size() - 32), std::string(32, '\0'));
  EXPECT_EQ(end.substr(end.size() - 32), std::string(32, '\0'));
}

// The numbers of a catalog, persona by persona.
std::vector<float> NumbersOf(const Catalog& catalog) {
  std::vector<float> numbers;
  for (const auto& persona : catalog.personas) {
    numbers.insert(numbers.end(), persona.cores.begin(), persona.cores.end());
  }
  return numbers;
}

TEST(CentralNoiseTest, ACoordinatorKilledBetweenAnyTwoMessagesReleasesTheSame) {
  TestFleet undisturbed(CentralFleet(2)), fleet(CentralFleet(2));
  auto calm = Devices(&undisturbed), devices = Devices(&fleet);
  bool opened = false;  // the two draw the same random numbers until the first has joined
  const auto kill = [&] {
    if (std::exchange(opened, true)) fleet.Restart();
  };
  RunRound(&undisturbed, calm);
  RunRound(&fleet, devices, kill);
  EXPECT_EQ(CatalogHash(fleet.LatestCatalog()), CatalogHash(undisturbed.LatestCatalog()));
  EXPECT_EQ(fleet.store().FindNoise("voices").value()->state,
            undisturbed.store().FindNoise("voices").value()->state);
  // From here on the rotations differ, and with them how numbers are rounded: not the noise.
  RunRound(&undisturbed, calm);
  RunRound(&fleet, devices, kill);
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kDone) << fleet.LatestRound().message;
  EXPECT_EQ(fleet.store().ListRounds("voices")->size(), 2u);
  EXPECT_THAT(NumbersOf(fleet.LatestCatalog()),
              Pointwise(FloatNear(0.1f), NumbersOf(undisturbed.LatestCatalog())));
}

// Killed, or out of disk, after the noise was added and before the round's end was stored.
TEST(CentralNoiseTest, AMergeThatIsRepeatedReleasesTheSame) {
  TestFleet undisturbed(CentralFleet(2)), fleet(CentralFleet(2));
  auto calm = Devices(&undisturbed), devices = Devices(&fleet);
  RunRound(&undisturbed, calm);
  const auto other = Database::Open(fleet.store_path(), {}).value();
  ASSERT_TRUE(other
                  ->Execute("CREATE TRIGGER full BEFORE INSERT ON releases BEGIN "
                            "SELECT RAISE(ABORT, 'disk full'); END")
                  .ok());
  int failed = 0;
  for (TestDevice& device : devices) ASSERT_TRUE(device.Join().ok());
  All(devices, [](TestDevice& d) { return d.Share(); });
  All(devices, [](TestDevice& d) { return d.Mask(d.id() == "device-0" ? 0 : 1, 0.5f); });
  All(devices, [](TestDevice& d) { return d.Acknowledge(); });
  for (TestDevice& device : devices) failed += device.Unmask().ok() ? 0 : 1;
  EXPECT_GT(failed, 0);
  const std::string state = fleet.store().FindNoise("voices").value()->state;
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kOpen);
  fleet.Restart();
  fleet.service().Tick();
  EXPECT_EQ(fleet.store().FindNoise("voices").value()->state, state);
  ASSERT_TRUE(other->Execute("DROP TRIGGER full").ok());
  fleet.Restart();
  fleet.service().Tick();
  ASSERT_EQ(fleet.LatestRound().status, RoundStatus::kDone) << fleet.LatestRound().message;
  EXPECT_NE(fleet.store().FindNoise("voices").value()->state, state);
  EXPECT_EQ(CatalogHash(fleet.LatestCatalog()), CatalogHash(undisturbed.LatestCatalog()));
}

TEST(CentralNoiseTest, AStepIsUsedUpAsSoonAsSomebodyMayHaveContributed) {
  TestFleet fleet(CentralFleet(3));
  auto devices = Devices(&fleet);
  const auto step_of_latest = [&] { return DescriptionOf(fleet.LatestRound()).central->step; };
  const auto let_it_abort = [&] {
    fleet.clock().Advance(absl::Seconds(60));
    fleet.service().Tick();
    EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kAborted);
    fleet.clock().Advance(absl::Seconds(2));
  };
  ASSERT_TRUE(devices[0].Join().ok());
  let_it_abort();
  All(devices, [](TestDevice& d) { return d.Join(); });
  EXPECT_EQ(step_of_latest(), 0);  // nobody had contributed
  All(devices, [](TestDevice& d) { return d.Share(); });
  ASSERT_TRUE(devices[0].Mask(0, 0.5f).ok());
  fleet.Restart();  // what is stored says so too
  let_it_abort();
  All(devices, [](TestDevice& d) { return d.Join(); });
  EXPECT_EQ(step_of_latest(), 1);
  // Nothing was released: the mechanism is charged with the round that may release something.
  const auto ledger = fleet.store().ListLedger("voices").value();
  ASSERT_EQ(ledger.size(), 3u);
  EXPECT_FALSE(ledger[0].spent || ledger[1].spent);
  EXPECT_GT(ledger[2].epsilon, 0);
}

TEST(CentralNoiseTest, NoRoundOpensWhenAllStepsAreUsed) {
  TestFleet fleet(CentralFleet(1));
  auto devices = Devices(&fleet);
  All(devices, [](TestDevice& d) { return d.Join(); });
  All(devices, [](TestDevice& d) { return d.Share(); });
  ASSERT_TRUE(devices[0].Mask(0, 0.5f).ok());
  fleet.clock().Advance(absl::Seconds(60));
  fleet.service().Tick();
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kAborted);
  fleet.clock().Advance(absl::Seconds(2));
  EXPECT_EQ(devices[0].Join().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(fleet.store().ListRounds("voices")->size(), 1u);
}

TEST(CentralNoiseTest, ATaskBeyondItsBudgetMakesNoNoise) {
  FleetOptions options = CentralFleet(2);
  options.epsilon_budget = 1;
  TestFleet fleet(options);
  EXPECT_EQ(TestDevice(&fleet, 0).Join().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(fleet.store().FindNoise("voices").value());
}

TEST(CentralNoiseTest, LostOrForeignNoiseReleasesNothing) {
  TestFleet fleet(CentralFleet(2));
  auto devices = Devices(&fleet);
  All(devices, [](TestDevice& d) { return d.Join(); });
  const auto other = Database::Open(fleet.store_path(), {}).value();
  ASSERT_TRUE(other->Execute("DELETE FROM central_noise").ok());
  All(devices, [](TestDevice& d) { return d.Share(); });
  All(devices, [](TestDevice& d) { return d.Mask(1, 0.5f); });
  All(devices, [](TestDevice& d) { return d.Acknowledge(); });
  All(devices, [](TestDevice& d) { return d.Unmask(); });
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kAborted);
  EXPECT_THAT(fleet.LatestRound().message, HasSubstr("expected stored central noise, found none"));
  EXPECT_EQ(fleet.LatestCatalog().version, 1u);
}

// The planned round of a task, without a fleet.
RoundDescription CentralRound(int rounds, int separation, int64_t block_size) {
  TaskConfig task;
  task.name = "voices";
  task.base_fingerprint = std::string(64, 'a');
  task.noise = "central";
  task.noise_multiplier = 2;
  task.rounds = rounds;
  task.separation = separation;
  RoundDescription round = PlanRound(task, {.hash = std::string(64, 'b'),
                                            .version = 1,
                                            .persona_count = 1,
                                            .block_size = block_size})
                               .value();
  round.round_number = 1;
  round.advertise_until = absl::FromUnixSeconds(1700000000);
  round.share_until = round.advertise_until + absl::Minutes(1);
  round.mask_until = round.share_until + absl::Minutes(1);
  round.acknowledge_until = round.mask_until + absl::Minutes(1);
  round.unmask_until = round.acknowledge_until + absl::Minutes(1);
  return round;
}

std::unique_ptr<SqliteStore> StoreWithTask() {
  auto store = SqliteStore::Open(":memory:", true).value();
  TaskRecord task;
  task.name = "voices";
  EXPECT_TRUE(store->AddTask(task).ok());
  return store;
}

// Opens and ends a round of which nothing but its noise matters.
void EndRound(Store* store, int number, const NoiseRecord& noise) {
  RoundOpening opening;
  opening.round.task = opening.ledger.task = noise.task;
  opening.round.number = opening.ledger.round_number = static_cast<uint64_t>(number);
  opening.ledger.sweep = opening.round.number;
  opening.round.session[0] = static_cast<uint8_t>(number);
  RoundEnd end;
  end.round = opening.round;
  end.round.id = store->OpenSweep({opening}).value().front();
  end.round.status = RoundStatus::kDone;
  end.spent = true;
  end.noise = noise;
  ASSERT_TRUE(store->FinishRound(end).ok());
  // Once only: whoever comes second changes nothing.
  NoiseRecord second = noise;
  second.state += "?";
  end.noise = second;
  EXPECT_EQ(store->FinishRound(end).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store->FindNoise(noise.task).value()->state, noise.state);
}

// Over many numbers, the noise of the steps has the covariance (C^T C)^-1, times that of z.
TEST(CentralNoiseTest, NoiseOverTheStepsHasTheCovarianceOfTheFactorization) {
  constexpr int kSteps = 6;
  const RoundDescription planned = CentralRound(kSteps, 3, 16000);
  const size_t dimension = static_cast<size_t>(planned.layout.dimension());
  const auto store = StoreWithTask();
  SeededRandom random("central noise", 1);
  std::vector<std::vector<float>> noise;
  for (int step = 0; step < kSteps; ++step) {
    RoundDescription round = AtCentralStep(planned, store.get(), &random).value();
    random.Fill(round.encoding.rotation_seed);  // of its own in every round
    const auto record = store->FindNoise("voices").value();
    const std::vector<uint32_t> nothing(static_cast<size_t>(round.encoding.padded_dimension()));
    noise.push_back(ReleasableSum(round, nothing, record).value());
    const NoiseRecord after = AfterCentralStep(round, record).value();
    EXPECT_FALSE(ReleasableSum(round, nothing, after).ok()) << "a step that is over";
    EndRound(store.get(), step, after);
  }
  const auto inverse = InverseCoefficients(ShapeOf(*planned.central));
  const double z =
      planned.central->noise_multiplier * CentralSensitivity(*planned.central, planned.encoding);
  const auto expected = [&](int a, int b) {
    double sum = 0;
    for (int i = 0; i <= std::min(a, b); ++i) sum += inverse[a - i] * inverse[b - i];
    return sum * z * z;
  };
  for (int a = 0; a < kSteps; ++a) {
    EXPECT_NEAR(std::sqrt(expected(a, a)), CentralDeviation(*planned.central, a, planned.encoding),
                1e-9 * z);
    for (int b = a; b < kSteps; ++b) {
      const double product =
          std::inner_product(noise[a].begin(), noise[a].end(), noise[b].begin(), 0.0);
      // 6.5 standard errors of a mean of products of Gaussians: false alarm below 1e-9 in all.
      const double error =
          std::sqrt((expected(a, a) * expected(b, b) + expected(a, b) * expected(a, b)) /
                    static_cast<double>(dimension));
      EXPECT_NEAR(product / static_cast<double>(dimension), expected(a, b), 6.5 * error)
          << a << " " << b;
    }
  }
}

TEST(CentralNoiseTest, SensitivityCountsRoundingAndEveryParticipation) {
  const RoundDescription round = CentralRound(10, 4, 100);
  EXPECT_EQ(round.central->participations, 3);  // rounds 0, 4 and 8
  const MatrixShape shape = ShapeOf(*round.central);
  EXPECT_EQ(shape, (MatrixShape{.steps = 10, .separation = 4, .participations = 3, .bands = 4}));
  const double rounded = RoundedNormBound(1024, 128) / 1024;
  EXPECT_GT(rounded, 1);
  EXPECT_DOUBLE_EQ(CentralSensitivity(*round.central, round.encoding),
                   rounded * MatrixSensitivity(shape));
  // One contribution in a task of one round: the plain Gaussian mechanism.
  const RoundDescription one = CentralRound(1, 1, 100);
  EXPECT_DOUBLE_EQ(CentralDeviation(*one.central, 0, one.encoding), 2 * rounded);
}

TEST(CentralNoiseTest, TheModulusHoldsTheNoise) {
  RoundDescription round = CentralRound(100, 1, 100);
  EXPECT_EQ(round.encoding.sigma_local, 0);
  const double deviation = CentralDeviation(*round.central, 99, round.encoding);
  EXPECT_GT(std::exp2(round.encoding.modulus_bits),
            2 * kModulusDeviations * deviation * round.encoding.scale);
  TaskConfig task;
  task.noise = "central";
  EXPECT_LT(PlannedOverflow(task, round)->coordinate, 1e-2);
}

TEST(CentralNoiseTest, ACatalogOfAnotherSizeNeedsANewTask) {
  const auto store = StoreWithTask();
  SeededRandom random("central noise", 2);
  ASSERT_TRUE(AtCentralStep(CentralRound(4, 1, 100), store.get(), &random).ok());
  const absl::Status larger = AtCentralStep(CentralRound(4, 1, 200), store.get(), &random).status();
  EXPECT_EQ(larger.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(larger)), HasSubstr("expected contributions of 128 numbers"));
  EXPECT_FALSE(AtCentralStep(CentralRound(5, 1, 100), store.get(), &random).ok());
}

TEST(CentralNoiseTest, ABrokenStateIsNoNoise) {
  const auto store = StoreWithTask();
  for (const char* state :
       {"", "short", "long enough to hold a mechanism, but nothing after that"}) {
    const NoiseRecord record{.task = "voices", .state = state};
    const RoundDescription round = CentralRound(4, 1, 100);
    EXPECT_EQ(AfterCentralStep(round, record).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_TRUE(store->AddNoise({.task = "voices", .state = "x"}).ok());
  EXPECT_EQ(store->AddNoise({.task = "voices", .state = "y"}).code(),
            absl::StatusCode::kAlreadyExists);
  SeededRandom random("central noise", 3);
  EXPECT_EQ(AtCentralStep(CentralRound(4, 1, 100), store.get(), &random).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(CentralTaskTest, RefusesShapesThatDoNotFit) {
  TaskConfig task;
  task.name = "voices";
  task.base_fingerprint = std::string(64, 'a');
  task.rounds = 10;
  task.separation = 2;
  EXPECT_THAT(std::string(Message(CheckTaskConfig(task))), HasSubstr("1 without central noise"));
  task.noise = "central";
  EXPECT_TRUE(CheckTaskConfig(task).ok());
  EXPECT_EQ(TaskConfigFromJson(TaskConfigToJson(task))->separation, 2);
  task.participations = 5;
  EXPECT_TRUE(CheckTaskConfig(task).ok());
  task.participations = 6;
  EXPECT_THAT(std::string(Message(CheckTaskConfig(task))), HasSubstr("no more than fit"));
  task.participations = 0;
  task.separation = 11;
  EXPECT_THAT(std::string(Message(CheckTaskConfig(task))), HasSubstr("1 to the rounds, got 11"));
  task.noise = "laplace";
  EXPECT_THAT(std::string(Message(CheckTaskConfig(task))),
              HasSubstr("expected skellam, discrete-gaussian or central, got laplace"));
}

TEST(CentralTaskTest, WhatIsReleasedIsHeldAgainstTheNoiseOfItsStep) {
  TaskConfig task;
  task.noise = "central";
  RoundDescription round = CentralRound(10, 5, 100);
  const double first = CentralDeviation(*round.central, 0, round.encoding);
  const MergeOptions options = MergeOptionsOf(task, round);
  EXPECT_EQ(options.central_deviation, first);
  EXPECT_DOUBLE_EQ(options.min_count, 3 * first / task.count_weight);
  round.central->step = 9;
  EXPECT_GT(MergeOptionsOf(task, round).central_deviation, first);
  EXPECT_EQ(PlannedDeviation(round, 50), MergeOptionsOf(task, round).central_deviation);
}

}  // namespace
}  // namespace lorikeet
