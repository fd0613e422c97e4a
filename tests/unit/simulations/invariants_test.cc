#include "simulations/checkers/invariants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/crypto/sign.h"
#include "coordinator/storage/sqlite_store.h"
#include "simulations/world/synthetic_work.h"
#include "simulations/world/world.h"

namespace lorikeet {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(SumErrorTest, IsZeroForTheSumModuloTheGroup) {
  EXPECT_EQ(SumError({{200, 1}, {100, 2}}, {300 % 256, 3}, 8), 0u);
  EXPECT_EQ(SumError({{0xffffffffu}, {2}}, {1}, 32), 0u);
}

TEST(SumErrorTest, IsTheShorterWayRoundTheGroup) {
  EXPECT_EQ(SumError({{0}}, {255}, 8), 1u);
  EXPECT_EQ(SumError({{10, 5}}, {13, 5}, 8), 3u);
  EXPECT_EQ(SumError({{1}}, {1, 2}, 8), 256u);
  EXPECT_EQ(SumError({}, {7}, 8), 7u);  // a sum of nobody
}

// Between a world and its checker: changes what the checker is shown.
class LyingObserver final : public WorldObserver {
 public:
  explicit LyingObserver(InvariantChecker* checker) : checker_(checker) {}
  void OnContribution(const std::string& device, const SessionId& session,
                      const EncodedDelta& contribution) override {
    if (!drop_contribution) return checker_->OnContribution(device, session, contribution);
    if (dropped_++ > 0) checker_->OnContribution(device, session, contribution);
  }
  void OnSend(const std::string& device, const CallAction& call) override {
    checker_->OnSend(device, call);
  }
  void OnState(const std::string& device, const AgentState& state) override {
    checker_->OnState(device, state);
  }
  void OnRoundFinished(const FinishedRound& finished) override {
    FinishedRound round = finished;
    if (change_round) change_round(&round);
    checker_->OnRoundFinished(round);
  }

  bool drop_contribution = false;
  std::function<void(FinishedRound*)> change_round;

 private:
  InvariantChecker* checker_;
  int dropped_ = 0;
};

// A round of five devices through a lying observer; what the checker finds.
std::vector<std::string> Violations(const std::function<void(LyingObserver*)>& lie) {
  WorldOptions options;
  options.devices = 5;
  const Catalog catalog = SyntheticCatalog({.personas = 2, .rank = 2}, 1);
  options.task.name = "simulation";
  options.task.base_fingerprint = catalog.base_fingerprint;
  options.task.rounds = 1;
  options.task.cohort_min = 3;
  options.task.cohort_max = 5;
  options.task.epsilon_budget = 1e6;
  options.task.demonstration = true;
  options.task.advertise = options.task.share = options.task.mask = options.task.acknowledge =
      options.task.unmask = absl::Seconds(60);
  options.agent.base_fingerprint = catalog.base_fingerprint;
  options.agent.policy.federate = options.agent.policy.allow_demonstration = true;
  InvariantChecker checker(options.task);
  LyingObserver observer(&checker);
  lie(&observer);
  auto world = World::Create(
      options, catalog,
      [&](int index, uint64_t seed) {
        return std::make_unique<SyntheticWork>(catalog, index, seed);
      },
      &observer);
  EXPECT_TRUE(world.ok()) << world.status();
  checker.Watch((*world)->coordinator().store(), (*world)->coordinator().blobs());
  EXPECT_TRUE((*world)->Run([] { return false; }).ok());
  EXPECT_EQ((*world)->coordinator().RoundsDone().value(), 1);
  return checker.violations();
}

TEST(InvariantCheckerTest, FindsNothingInAnHonestWorld) {
  EXPECT_THAT(Violations([](LyingObserver*) {}), IsEmpty());
}

TEST(InvariantCheckerTest, FindsASumThatIsNotTheSurvivors) {
  EXPECT_THAT(Violations([](LyingObserver* observer) { observer->drop_contribution = true; }),
              testing::AllOf(Contains(HasSubstr("the sum is off by")),
                             Contains(HasSubstr("without a contribution"))));
}

TEST(InvariantCheckerTest, FindsAnotherCatalogThanTheSumGives) {
  const auto found = Violations([](LyingObserver* observer) {
    observer->change_round = [](FinishedRound* round) {
      std::string& manifest = round->release->manifest.manifest;
      const size_t at = manifest.find("\"hash\"") + 9;
      manifest[at] = manifest[at] == '0' ? '1' : '0';
    };
  });
  EXPECT_THAT(found, Contains(HasSubstr("not what its sum gives")));
}

TEST(InvariantCheckerTest, FindsEpsilonGivenBackAfterShares) {
  EXPECT_THAT(Violations([](LyingObserver* observer) {
                observer->change_round = [](FinishedRound* round) { round->spent = false; };
              }),
              Contains(HasSubstr("given back")));
}

TEST(InvariantCheckerTest, FindsAReleaseOfAnAbortedRound) {
  EXPECT_THAT(Violations([](LyingObserver* observer) {
                observer->change_round = [](FinishedRound* round) {
                  round->record.status = RoundStatus::kAborted;
                };
              }),
              Contains(HasSubstr("released a catalog though aborted")));
}

TEST(InvariantCheckerTest, FindsALostEvent) {
  EXPECT_THAT(Violations([](LyingObserver* observer) {
                observer->change_round = [](FinishedRound* round) { round->events.pop_back(); };
              }),
              Contains(HasSubstr("stored events give no sum")));
}

TEST(InvariantCheckerTest, FindsTwoDifferentMessagesOfOneStep) {
  InvariantChecker checker({});
  Acknowledgement message;
  checker.OnSend("device", CallAction{1, message, ""});
  checker.OnSend("device", CallAction{1, message, ""});  // a repetition
  EXPECT_THAT(checker.violations(), IsEmpty());
  message.alive = {1};
  checker.OnSend("other", CallAction{1, message, ""});
  EXPECT_THAT(checker.violations(), IsEmpty());
  checker.OnSend("device", CallAction{1, message, ""});
  EXPECT_THAT(checker.violations(), Contains(HasSubstr("two different messages")));
}

TEST(InvariantCheckerTest, FindsUnpublishedAndOlderCatalogs) {
  const auto store = SqliteStore::Open(":memory:", /*create=*/true).value();
  MemoryBlobStore blobs;
  InvariantChecker checker({});
  checker.Watch(store.get(), &blobs);
  AgentState state;
  state.catalog = InstalledRelease{.version = 2, .file_hash = {}, .base_fingerprint = ""};
  checker.OnState("device", state);
  EXPECT_THAT(checker.violations(), Contains(HasSubstr("never published")));
  state.catalog->version = 1;
  checker.OnState("device", state);
  EXPECT_THAT(checker.violations(), Contains(HasSubstr("went back")));
}

}  // namespace
}  // namespace lorikeet
