// What routed rounds show of one device: that it asked, by name, and that some member joined a
// bucket, not which of those who asked.
//
// Two sides: calls by name (certificate), and calls of members, which a coordinator sees with the
// times of both.  With one seed two choices must give the same calls by name; over many seeds
// whoever matches the two sides by time and order must do no better than chance, while the same
// matching finds planted leaks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/wire/decode.h"
#include "simulations/checkers/invariants.h"
#include "simulations/world/synthetic_work.h"
#include "simulations/world/world.h"
#include "tests/unit/simulations/choice_classifier.h"

namespace lorikeet {
namespace {

constexpr int kDevices = 7;
constexpr SyntheticShape kShape = {.personas = 4, .rank = 3};
constexpr int kBucket = 2;  // personas
const char* const kTarget = "device-0000";

struct SeenCall {
  std::string device;  // known for calls by name; of members only to the test
  bool member = false;
  size_t kind = 0;  // in AgentRequest
  size_t bytes = 0;
  std::optional<SessionId> session;
  absl::Duration at;
};

struct View {
  std::vector<SeenCall> calls;
  std::map<SessionId, int> buckets;
  absl::Duration joins_from;
  std::vector<std::string> violations;
};

class Recorder final : public WorldObserver {
 public:
  explicit Recorder(const TaskConfig& task) : checker(task) {}
  void OnContribution(const std::string& device, const SessionId& session,
                      const EncodedDelta& contribution) override {
    checker.OnContribution(device, session, contribution);
  }
  void OnSend(const std::string& device, const CallAction& call) override {
    checker.OnSend(device, call);
    view.calls.push_back({device, !call.member.empty(), call.request.index(),
                          RequestBytes(call.request), SessionOfRequest(call.request),
                          world->elapsed()});
  }
  void OnState(const std::string& device, const AgentState& state) override {
    checker.OnState(device, state);
  }
  void OnRoundFinished(const FinishedRound& round) override {
    checker.OnRoundFinished(round);
    const auto description = DecodeRoundDescription(round.record.description.description);
    ASSERT_TRUE(description.ok()) << description.status();
    view.buckets[round.record.session] = description->layout.first_persona / kBucket;
    view.joins_from = description->join_from - round.record.opened;
  }
  const World* world = nullptr;
  InvariantChecker checker;
  View view;
};

WorldOptions RoutedWorld(uint64_t seed, const Catalog& catalog) {
  WorldOptions options;
  options.devices = kDevices;
  options.seed = seed;
  TaskConfig& task = options.task;
  task.name = "view";
  task.base_fingerprint = catalog.base_fingerprint;
  task.rounds = 1;
  task.cohort_min = 3;
  task.cohort_max = 5;
  task.corrupt_fraction = 0;
  task.dropout_fraction = 0;
  task.noise_multiplier = 0.001;
  task.epsilon_budget = 1e9;
  task.demonstration = true;
  task.tokens = "required";
  task.routing = "routed";
  task.bucket_personas = kBucket;
  task.min_count = 0.5;
  task.advertise = absl::Seconds(120);
  task.share = task.mask = task.acknowledge = task.unmask = absl::Seconds(60);
  options.agent.base_fingerprint = catalog.base_fingerprint;
  options.agent.policy.federate = true;
  options.agent.policy.allow_demonstration = true;
  options.agent.policy.allow_routed = true;
  return options;
}

// One sweep.  The target chooses a persona of `bucket`; three others are in each of the two.
View RunSweep(uint64_t seed, int bucket) {
  const Catalog catalog = SyntheticCatalog(kShape, 1);
  const WorldOptions options = RoutedWorld(seed, catalog);
  Recorder recorder(options.task);
  const MakeWork make_work = [&](int index, uint64_t work_seed) {
    return std::make_unique<SyntheticWork>(catalog, index == 0 ? kBucket * bucket : index,
                                           work_seed);
  };
  const auto world = World::Create(options, catalog, make_work, &recorder);
  EXPECT_TRUE(world.ok()) << world.status();
  recorder.world = world->get();
  recorder.checker.Watch((*world)->coordinator().store(), (*world)->coordinator().blobs());
  const absl::Status status = (*world)->Run([] { return false; });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ((*world)->coordinator().CatalogVersion().value(), 2u);
  View view = std::move(recorder.view);
  view.violations = recorder.checker.violations();
  EXPECT_EQ((*world)->devices()[0]->state().sweeps.size(), 1u) << "the target took no part";
  return view;
}

constexpr size_t kJoin = AgentRequest(JoinRequest()).index();
constexpr size_t kSeek = AgentRequest(RoundQuery()).index();
constexpr size_t kTokens = AgentRequest(IssueRequest()).index();
constexpr size_t kChunk = AgentRequest(ChunkQuery()).index();
constexpr size_t kPoll = AgentRequest(PollQuery()).index();
constexpr size_t kShares = AgentRequest(UnmaskResponse()).index();

std::vector<SeenCall> CallsOf(const View& view, const std::string& device, bool member) {
  std::vector<SeenCall> calls;
  std::ranges::copy_if(view.calls, std::back_inserter(calls), [&](const SeenCall& call) {
    return call.device == device && call.member == member;
  });
  return calls;
}

// Kind and size of each, in order.
std::vector<std::pair<size_t, size_t>> Shapes(const std::vector<SeenCall>& calls) {
  std::vector<std::pair<size_t, size_t>> shapes;
  for (const SeenCall& call : calls) shapes.emplace_back(call.kind, call.bytes);
  return shapes;
}

// Up to the catalog that the sweep made.  Afterwards it looks for rounds at random moments.
std::vector<SeenCall> UntilItHasTheNext(std::vector<SeenCall> calls) {
  int catalogs = 0;
  const auto end = std::ranges::find_if(
      calls, [&](const SeenCall& call) { return call.kind == kChunk && ++catalogs == 2; });
  EXPECT_NE(end, calls.end());
  calls.erase(end, calls.end());
  return calls;
}

// What the target sent as a member, but for polls, of which there are more or fewer, and for its
// shares, without which its round may have ended.
std::vector<SeenCall> StepsOf(const View& view) {
  std::vector<SeenCall> calls = CallsOf(view, kTarget, true);
  std::erase_if(calls,
                [](const SeenCall& call) { return call.kind == kPoll || call.kind == kShares; });
  return calls;
}

TEST(RoutedViewTest, CallsByNameAreTheSameForTwoBuckets) {
  for (const uint64_t seed : {1, 2, 3}) {
    const View a = RunSweep(seed, 0);
    const View b = RunSweep(seed, 1);
    EXPECT_TRUE(a.violations.empty() && b.violations.empty());
    for (int i = 0; i < kDevices; ++i) {
      const std::string device = absl::StrFormat("device-%04d", i);
      const auto by_name = UntilItHasTheNext(CallsOf(a, device, false));
      EXPECT_EQ(Shapes(by_name), Shapes(UntilItHasTheNext(CallsOf(b, device, false))))
          << seed << " " << device;
      EXPECT_GE(by_name.size(), 6u);
      for (const SeenCall& call : by_name) EXPECT_FALSE(call.session) << "a round, by name";
    }
    // What a member sends: the same but for its session, and for the two bytes that the number
    // nought of a member takes less.
    const auto member_a = StepsOf(a), member_b = StepsOf(b);
    ASSERT_EQ(member_a.size(), 5u);  // the second look, and steps
    ASSERT_EQ(member_b.size(), 5u);
    for (size_t i = 0; i < member_a.size(); ++i) {
      EXPECT_EQ(member_a[i].kind, member_b[i].kind) << seed;
      EXPECT_NEAR(static_cast<double>(member_a[i].bytes), static_cast<double>(member_b[i].bytes),
                  2);
    }
    EXPECT_FALSE(member_a[0].session) << "the second look";
    EXPECT_EQ(a.buckets.at(*member_a[1].session), 0);
    EXPECT_EQ(b.buckets.at(*member_b[1].session), 1);
    // And it is the same moment, for whoever compares it with what was said by name.
    EXPECT_EQ(member_a[0].at, member_b[0].at) << seed;
  }
}

TEST(RoutedViewTest, NobodySpeaksByNameBetweenTheListAndTheEnd) {
  const View view = RunSweep(9, 0);
  absl::Duration first_join = absl::InfiniteDuration(), last_member;
  for (const SeenCall& call : view.calls) {
    if (!call.member) continue;
    if (call.kind == kJoin) first_join = std::min(first_join, call.at);
    last_member = std::max(last_member, call.at);
  }
  for (const SeenCall& call : view.calls) {
    if (call.member) continue;
    EXPECT_FALSE(call.at >= first_join && call.at <= last_member) << call.device;
  }
}

// The last time before joins and the first time after them that each device called by name, with
// what it fetched its tokens; and joins in order.
struct TwoSides {
  struct Named {
    std::string device;
    double times[3] = {};  // tokens, list, back again
  };
  std::vector<Named> named;
  std::vector<SeenCall> joins;
};

TwoSides SidesOf(const View& view) {
  TwoSides sides;
  for (const SeenCall& call : view.calls) {
    if (call.kind == kJoin) sides.joins.push_back(call);
  }
  const absl::Duration first = sides.joins.front().at;
  for (int i = 0; i < kDevices; ++i) {
    TwoSides::Named named{.device = absl::StrFormat("device-%04d", i)};
    for (const SeenCall& call : CallsOf(view, named.device, false)) {
      const double at = absl::ToDoubleSeconds(call.at);
      if (call.kind == kTokens) named.times[0] = at;
      if (call.kind == kSeek && call.at < first) named.times[1] = at;
      if (call.at > first && named.times[2] == 0) named.times[2] = at;
    }
    sides.named.push_back(named);
  }
  return sides;
}

// The k-th to call by name, by one of its times, is taken for the k-th (or, reversed, the k-th
// last) to join.  Returns device -> join.
std::map<std::string, SeenCall> Match(const TwoSides& sides, size_t by, bool reversed) {
  std::vector<TwoSides::Named> named = sides.named;
  std::ranges::sort(named, {}, [&](const TwoSides::Named& one) { return one.times[by]; });
  if (reversed) std::ranges::reverse(named);
  std::map<std::string, SeenCall> matched;
  for (size_t k = 0; k < sides.joins.size(); ++k) matched[named[k].device] = sides.joins[k];
  return matched;
}

class RoutedLinkTest : public testing::Test {
 protected:
  static constexpr int kSweeps = 80;
  // Choices are tosses of a coin that nothing else knows.
  static const std::vector<std::pair<View, int>>& Views() {
    static const auto* const views = [] {
      auto* made = new std::vector<std::pair<View, int>>();
      Rng coin(23);
      for (int i = 0; i < kSweeps; ++i) {
        const int bucket = static_cast<int>(coin.Below(2));
        made->emplace_back(RunSweep(1000 + static_cast<uint64_t>(i), bucket), bucket);
      }
      return made;
    }();
    return *views;
  }
  static constexpr double kFalseAlarm = 1e-6;

  // Rightly linked devices over all sweeps: by chance one a sweep, whatever the order, with
  // variance one.
  static double LinkDeviations(const std::vector<TwoSides>& sweeps, size_t by, bool reversed,
                               const char* name) {
    int64_t right = 0;
    for (const TwoSides& sides : sweeps) {
      for (const auto& [device, join] : Match(sides, by, reversed)) right += join.device == device;
    }
    const double expected = static_cast<double>(sweeps.size());
    const double deviations = (static_cast<double>(right) - expected) / std::sqrt(expected);
    std::printf("linked by %s%s: %d of %d, by chance %.0f (%+.1f deviations)\n", name,
                reversed ? ", reversed" : "", static_cast<int>(right),
                static_cast<int>(sweeps.size()) * kDevices, expected, deviations);
    return deviations;
  }
  // What a coordinator can reckon of the target.
  static std::vector<double> FeaturesOf(const View& view, const TwoSides& sides) {
    std::vector<double> features;
    for (size_t by = 0; by < 3; ++by) {
      features.push_back(sides.named[0].times[by]);
      for (const bool reversed : {false, true}) {
        const auto matched = Match(sides, by, reversed);
        const auto it = matched.find(kTarget);
        features.push_back(it == matched.end() ? 0.5 : view.buckets.at(*it->second.session));
      }
    }
    // How long after a bucket was last heard of the target came back, and whose that was.
    double since[2] = {};
    for (const SeenCall& call : view.calls) {
      if (!call.session) continue;
      const double at = absl::ToDoubleSeconds(call.at);
      since[view.buckets.at(*call.session)] = sides.named[0].times[2] - at;
    }
    features.insert(features.end(), {since[0], since[1], since[0] - since[1],
                                     std::abs(since[0]) < std::abs(since[1]) ? 0.0 : 1.0});
    const auto calls = CallsOf(view, kTarget, false);
    features.push_back(static_cast<double>(std::ranges::count_if(
        calls, [&](const SeenCall& call) { return call.at < sides.joins.front().at; })));
    return features;
  }
};

TEST_F(RoutedLinkTest, MatchingTheTwoSidesIsNoBetterThanChance) {
  std::vector<TwoSides> sweeps;
  for (const auto& [view, bucket] : Views()) {
    EXPECT_TRUE(view.violations.empty()) << view.violations[0];
    sweeps.push_back(SidesOf(view));
    EXPECT_EQ(sweeps.back().joins.size(), static_cast<size_t>(kDevices));
  }
  const char* const names[] = {"tokens", "list", "coming back"};
  for (size_t by = 0; by < 3; ++by) {
    for (const bool reversed : {false, true}) {
      EXPECT_LT(std::abs(LinkDeviations(sweeps, by, reversed, names[by])), 5);
    }
  }
  // Were devices to join as soon as they see the list, or to come back when their round is over,
  // the same matching would find them.
  auto at_once = sweeps;
  for (TwoSides& sides : at_once) {
    std::ranges::sort(sides.joins, {}, [&](const SeenCall& join) {
      const auto it = std::ranges::find(sides.named, join.device, &TwoSides::Named::device);
      return it->times[1];
    });
  }
  EXPECT_GT(LinkDeviations(at_once, 1, false, "list, joined at once"), 5);
}

TEST_F(RoutedLinkTest, NothingThatACoordinatorSeesTellsTheBucketAndPlantedLeaksAreFound) {
  std::vector<ChoiceSample> samples, comes_back, asks_more;
  for (const auto& [view, bucket] : Views()) {
    TwoSides sides = SidesOf(view);
    samples.push_back({FeaturesOf(view, sides), bucket});
    View more = view;
    if (bucket == 1) more.calls.push_back({kTarget, false, kSeek, 0, std::nullopt, {}});
    asks_more.push_back({FeaturesOf(more, sides), bucket});
    // As if it came back the moment its round was over.
    for (const SeenCall& call : view.calls) {
      if (!call.session || view.buckets.at(*call.session) != bucket) continue;
      sides.named[0].times[2] = absl::ToDoubleSeconds(call.at);
    }
    comes_back.push_back({FeaturesOf(view, sides), bucket});
  }
  const int64_t tested = kSweeps - kSweeps / 2;
  std::printf(
      "bucket guessed right: %d of %d; with one call more by name: %d; coming back at the "
      "end of its round: %d\n",
      static_cast<int>(RightGuesses(samples)), static_cast<int>(tested),
      static_cast<int>(RightGuesses(asks_more)), static_cast<int>(RightGuesses(comes_back)));
  EXPECT_GT(ChanceOf(samples), kFalseAlarm);
  EXPECT_LT(ChanceOf(asks_more), kFalseAlarm);
  EXPECT_LT(ChanceOf(comes_back), kFalseAlarm);
}

// Crashes of devices and coordinator, lost and repeated calls: every sweep that is released is what
// its contributions add up to, and every device is in it once.
TEST(RoutedWorldTest, KeepsItsInvariantsUnderFaults) {
  const Catalog catalog = SyntheticCatalog(kShape, 1);
  int kills = 0;
  for (const uint64_t seed : {1, 2, 3, 4}) {
    WorldOptions options = RoutedWorld(seed, catalog);
    options.devices = 16;
    options.task.rounds = 2;
    options.task.cohort_max = 5;
    options.dropout = 0.1;
    options.faults.restart = absl::Seconds(60);
    options.faults.loss = options.faults.duplicate = 0.02;
    InvariantChecker checker(options.task);
    const auto world = World::Create(
        options, catalog,
        [&](int index, uint64_t work_seed) {
          return std::make_unique<SyntheticWork>(catalog, index, work_seed);
        },
        &checker);
    ASSERT_TRUE(world.ok()) << world.status();
    checker.Watch((*world)->coordinator().store(), (*world)->coordinator().blobs());
    const absl::Status status = (*world)->Run([] { return false; });
    EXPECT_TRUE(status.ok()) << seed << ": " << status;
    for (const std::string& violation : checker.violations())
      ADD_FAILURE() << seed << ": " << violation;
    kills += (*world)->coordinator_kills();
    const auto ledger = (*world)->coordinator().store()->ListLedger(options.task.name);
    EXPECT_EQ(ledger->size() % 2, 0u) << "sweeps of two";
    EXPECT_TRUE((*world)->coordinator().store()->KeptSums(options.task.name, 1)->empty());
  }
  EXPECT_GT(kills, 3);
}

}  // namespace
}  // namespace lorikeet
