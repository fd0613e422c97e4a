// What a coordinator sees of a round says nothing of the persona that a device chose.
//
// The view: every request as it was sent, everything the coordinator stored, and the sum that it
// unmasked.  With one seed two choices must give the same sequence of types and sizes; over many
// seeds a classifier must do no better than a coin, while the same classifier finds planted leaks.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/wire/decode.h"
#include "coordinator/rounds/open_round.h"
#include "simulations/world/synthetic_work.h"
#include "simulations/world/world.h"
#include "tests/unit/simulations/choice_classifier.h"

namespace lorikeet {
namespace {

constexpr int kDevices = 4;
constexpr int kPersonas = 2;
constexpr SyntheticShape kShape = {.personas = kPersonas, .rank = 6};
constexpr size_t kRequests = std::variant_size_v<AgentRequest>;
constexpr size_t kKinds = kRequests + static_cast<size_t>(RoundEventKind::kTick) + 1;
const char* const kTarget = "device-0000";  // whose choice is to be guessed

struct SeenMessage {
  std::string device;
  size_t kind = 0;  // below kKinds: requests, then stored events
  size_t bytes = 0;
  bool operator==(const SeenMessage&) const = default;
};

// The coordinator's view of one round.
struct View {
  std::vector<SeenMessage> sent;    // in order
  std::vector<SeenMessage> stored;  // events of the round, in order
  uint64_t bytes_down = 0;
  RoundDescription round;
  std::vector<uint8_t> update;  // the target's, packed
  std::vector<uint32_t> sum;
  // Not seen by the coordinator, for planted leaks.
  std::vector<uint32_t> unmasked;
};

class Recorder final : public WorldObserver {
 public:
  void OnContribution(const std::string& device, const SessionId&,
                      const EncodedDelta& contribution) override {
    if (device == kTarget) view_.unmasked = contribution.words();
  }
  void OnSend(const std::string& device, const CallAction& call) override {
    if (done_) return;
    const AgentRequest& request = call.request;
    view_.sent.push_back({device, request.index(), RequestBytes(request)});
    const auto* update = std::get_if<MaskedUpdate>(&request);
    if (update != nullptr && device == kTarget) view_.update = update->packed;
  }
  void OnState(const std::string&, const AgentState&) override {}
  void OnRoundFinished(const FinishedRound& round) override {
    done_ = true;
    EXPECT_EQ(round.record.status, RoundStatus::kDone) << round.record.message;
    for (const RoundEventRecord& event : round.events) {
      view_.stored.push_back(
          {event.device, kRequests + static_cast<size_t>(event.kind), event.payload.size()});
    }
    const auto replayed = OpenRound::Restore(round.record, round.events, round.sums);
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    view_.round = replayed->machine->description();
    view_.sum = replayed->machine->sum()->sum;
  }
  View& view() { return view_; }

 private:
  View view_;
  bool done_ = false;
};

// One round of a fleet in which the target chooses `choice` and all else follows from the seed.
View RunRound(uint64_t seed, int choice, double noise_multiplier) {
  const Catalog catalog = SyntheticCatalog(kShape, 1);
  WorldOptions options;
  options.devices = kDevices;
  options.seed = seed;
  TaskConfig& task = options.task;
  task.name = "view";
  task.base_fingerprint = catalog.base_fingerprint;
  task.rounds = 1;
  task.cohort_min = task.cohort_max = kDevices;
  task.corrupt_fraction = 0;
  task.dropout_fraction = 0;
  task.noise_multiplier = noise_multiplier;
  task.epsilon_budget = 1e9;
  task.demonstration = true;
  task.advertise = task.share = task.mask = task.acknowledge = task.unmask = absl::Seconds(60);
  options.agent.base_fingerprint = catalog.base_fingerprint;
  options.agent.policy.federate = true;
  options.agent.policy.allow_demonstration = true;
  const MakeWork make_work = [&](int index, uint64_t work_seed) {
    return std::make_unique<SyntheticWork>(catalog, index == 0 ? choice : index, work_seed);
  };
  Recorder recorder;
  const auto world = World::Create(options, catalog, make_work, &recorder);
  EXPECT_TRUE(world.ok()) << world.status();
  const absl::Status status = (*world)->Run([] { return false; });
  EXPECT_TRUE(status.ok()) << status;
  View view = std::move(recorder.view());
  view.bytes_down = (*world)->traffic().OfSession(view.round.secagg.session).bytes_down;
  EXPECT_EQ((*world)->devices()[0]->state().personal->chosen, absl::StrCat("kind-", choice));
  return view;
}

// What a vector of real numbers shows of the choice: each persona's share of the size, its count.
void AddVector(const std::vector<uint32_t>& words, const RoundDescription& round,
               std::vector<double>* features) {
  const std::vector<float> values = DecodeSum(words, round.encoding).value();
  const size_t block = static_cast<size_t>(round.layout.block_size);
  for (size_t k = 0; k < kPersonas; ++k) {
    double sum = 0, squares = 0;
    for (size_t j = 0; j < block; ++j) {
      sum += values[k * block + j];
      squares += static_cast<double>(values[k * block + j]) * values[k * block + j];
    }
    features->insert(features->end(), {sum, squares, values[kPersonas * block + k]});
  }
}

void AddByteStatistics(const std::vector<uint8_t>& bytes, std::vector<double>* features) {
  std::vector<double> ones(8), nibbles(16);
  double sum = 0;
  for (const uint8_t byte : bytes) {
    sum += byte;
    for (int bit = 0; bit < 8; ++bit) ones[static_cast<size_t>(bit)] += (byte >> bit) & 1;
    ++nibbles[byte >> 4];
    ++nibbles[byte & 15];
  }
  const double count = static_cast<double>(bytes.size());
  double chi2 = 0;
  for (const double found : nibbles) chi2 += std::pow(found - count / 8, 2) / (count / 8);
  features->insert(features->end(), {count, sum / count, chi2});
  for (const double one : ones) features->push_back(one / count);
}

std::vector<double> FeaturesOf(const View& view, bool with_sum) {
  std::array<double, kKinds> counts = {}, bytes = {};
  for (const auto* messages : {&view.sent, &view.stored}) {
    for (const SeenMessage& message : *messages) {
      if (message.device == kTarget) {
        counts[message.kind] += 1;
        bytes[message.kind] += static_cast<double>(message.bytes);
      }
    }
  }
  // Where the target stands among the others.
  double place = 0;
  for (size_t i = 0; i < view.stored.size(); ++i) {
    if (view.stored[i].device == kTarget) place += static_cast<double>(i);
  }
  std::vector<double> features = {place, static_cast<double>(view.sent.size()),
                                  static_cast<double>(view.bytes_down)};
  features.insert(features.end(), counts.begin(), counts.end());
  features.insert(features.end(), bytes.begin(), bytes.end());
  AddByteStatistics(view.update, &features);
  // As if it were not masked.
  const int64_t dimension = view.round.secagg.dimension;
  const int bits = view.round.secagg.modulus_bits;
  std::vector<uint8_t> packed = view.update;
  packed.resize(static_cast<size_t>((dimension * bits + 7) / 8));
  std::vector<uint32_t> words(static_cast<size_t>(dimension));
  AddPackedBits(packed, bits, words);
  AddVector(words, view.round, &features);
  if (with_sum) AddVector(view.sum, view.round, &features);
  return features;
}

class CoordinatorViewTest : public testing::Test {
 protected:
  static constexpr int kRounds = 160;
  static constexpr double kFalseAlarm = 1e-6;

  // Choices are tosses of a coin that nothing else knows.
  static std::vector<std::pair<View, int>> Views(double noise_multiplier) {
    Rng coin(static_cast<uint64_t>(noise_multiplier * 1000) + 17);
    std::vector<std::pair<View, int>> views;
    for (int i = 0; i < kRounds; ++i) {
      const int choice = static_cast<int>(coin.Below(2));
      views.emplace_back(RunRound(1000 + static_cast<uint64_t>(i), choice, noise_multiplier),
                         choice);
    }
    return views;
  }
  static std::vector<ChoiceSample> Samples(const std::vector<std::pair<View, int>>& views,
                                           bool with_sum) {
    std::vector<ChoiceSample> samples;
    for (const auto& [view, choice] : views) {
      samples.push_back({FeaturesOf(view, with_sum), choice});
    }
    return samples;
  }
};

TEST_F(CoordinatorViewTest, TwoChoicesGiveTheSameTypesSizesAndOrder) {
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    const View a = RunRound(seed, 0, 1);
    const View b = RunRound(seed, 1, 1);
    EXPECT_EQ(a.sent, b.sent) << seed;
    EXPECT_EQ(a.stored, b.stored) << seed;
    EXPECT_EQ(a.bytes_down, b.bytes_down) << seed;
    EXPECT_EQ(a.update.size(), b.update.size()) << seed;
    EXPECT_NE(a.unmasked, b.unmasked) << "the test no longer changes what it means to change";
    EXPECT_GE(a.stored.size(), 4u * kDevices);
  }
}

// Next to no noise: masks alone must hide the choice in everything but the sum.
TEST_F(CoordinatorViewTest, MessagesAndStoreTellNothingAndPlantedLeaksAreFound) {
  auto views = Views(0.001);
  EXPECT_GT(ChanceOf(Samples(views, false)), kFalseAlarm);
  // The sum of so few devices without noise does tell: the classifier can find it.
  EXPECT_LT(ChanceOf(Samples(views, true)), kFalseAlarm);

  auto sizes = views;
  for (auto& [view, choice] : sizes) view.update.resize(view.update.size() + 4 * choice);
  EXPECT_LT(ChanceOf(Samples(sizes, false)), kFalseAlarm);

  auto unmasked = views;
  for (auto& [view, choice] : unmasked) {
    view.update = PackBits(view.unmasked, view.round.secagg.modulus_bits);
  }
  EXPECT_LT(ChanceOf(Samples(unmasked, false)), kFalseAlarm);

  auto repeated = views;
  for (auto& [view, choice] : repeated) {
    if (choice == 1)
      view.sent.push_back({kTarget, AgentRequest(MaskedUpdate()).index(), view.update.size()});
  }
  EXPECT_LT(ChanceOf(Samples(repeated, false)), kFalseAlarm);
}

// With noise of 20 clip norms two choices, sqrt(2) clip norms apart at most but for the losses, are
// told apart from the sum in 52 % of the cases at best: no different from a coin in 80 tries.
TEST_F(CoordinatorViewTest, NoiseHidesTheChoiceInTheSum) {
  EXPECT_GT(ChanceOf(Samples(Views(20), true)), kFalseAlarm);
}

}  // namespace
}  // namespace lorikeet
