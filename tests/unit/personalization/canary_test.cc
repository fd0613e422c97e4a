// Sentences that nobody could guess are put among the owner's text, learned, and forgotten again:
// afterwards the adapter must know them no better than sentences of the same kind that it never
// saw.
//
// All is seeded, so a false alarm does not come and go; the exact permutation test over the 924
// ways to call six of twelve canaries "seen" says how far from chance a difference is.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <numeric>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "device/personalization/forgetting.h"
#include "device/personalization/history.h"
#include "device/personalization/incremental.h"
#include "device/personalization/personalizer.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

constexpr int kCanaries = 6;  // of each kind
constexpr int kCopies = 5;    // of each seen one, in the vault

std::string Digits(Rng* random, int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += std::string(1, static_cast<char>('0' + random->Below(10)));
  return text;
}

std::vector<std::string> MakeCanaries(int count, uint64_t seed) {
  Rng random(seed);
  std::vector<std::string> canaries;
  for (int i = 0; i < count; ++i) {
    canaries.push_back("gate " + Digits(&random, 4) + " opens with " + Digits(&random, 16));
  }
  return canaries;
}

std::vector<std::string> OrdinaryTexts(int count) {
  const std::vector<std::string> words = {"nine", "minus", "one;", "one,", "nine."};
  Rng random(3);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (int j = 0; j < 14; ++j) text += words[random.Below(words.size())] + " ";
    texts.push_back(std::move(text));
  }
  return texts;
}

// The owner's device: a vault, an adapter made from it, its history.
class Owner {
 public:
  explicit Owner(const std::string& name)
      : dir_(MakeTempDir(name)),
        out_(dir_ + "/me.gguf"),
        random_("canary-test", 1),
        vault_(Vault::Open({.dir = dir_ + "/v", .create = true},
                           {.key_file = dir_ + "/key", .passphrase = {}}, &clock_, &random_)
                   .value()) {}

  int64_t Write(const std::string& text) { return vault_->Add("notes", PrivateText(text)).value(); }

  void Personalize() {
    VaultAdapter remembered;
    remembered.path = out_;
    ASSERT_TRUE(vault_->RememberAdapter(remembered).ok());
    const OwnerText text = HoldOutRecords(vault_->Records(Purpose::kTrain).value());
    PersonalizeOptions options;
    options.rank = 4;
    options.train = DefaultPersonalTraining();
    options.train.epochs = 16;
    options.train.learning_rate = 1e-2;
    options.train.patience = 0;
    // Learned by heart, whatever else that costs.
    options.residual_gain_share = 1;
    options.forgetting_budget = 100;
    const auto result =
        lorikeet::Personalize(LoadTinyModel(), TestPool(), clock_, EmptyCatalog(), text, options);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(result->adapter.has_value()) << result->verdict;
    HistoryEntry entry;
    entry.kind = history_kind::kPersonalized;
    entry.records = text.record_ids;
    ASSERT_TRUE(History::Open(out_, &clock_)->Append(entry, result->adapter).ok());
  }

  void Forget(const std::vector<int64_t>& ids) {
    ASSERT_TRUE(vault_->Forget(ids).ok());
    const auto purged = PurgeAdapters(vault_.get(), &clock_, /*rebuild=*/true);
    ASSERT_TRUE(purged.ok()) << purged.status();
    ASSERT_EQ(purged->size(), 1u);
    EXPECT_TRUE(purged->front().was_in_use);
    EXPECT_FALSE(FileExists(out_));
  }

  // Nats a token on each text.
  std::vector<double> Losses(const std::vector<std::string>& texts) const {
    const PersonalAdapter adapter = PersonalAdapter::Load(out_).value();
    const std::vector<LossCandidate> candidates = {{{.adapter = &adapter.adapter()}}};
    const auto meter = LossMeter::Create(LoadTinyModel(), TestPool()).value();
    const auto losses =
        meter->Measure(candidates, TokenizeDocuments(*LoadTinyModel(), Private(texts), 192))
            .value();
    std::vector<double> means;
    for (const DocumentLoss& loss : losses[0]) means.push_back(MeanLoss({&loss, 1}));
    return means;
  }

  std::string AdapterBytes() const { return ReadFile(out_).value(); }

 private:
  std::string dir_, out_;
  SeededRandom random_;
  SystemClock clock_;
  std::unique_ptr<Vault> vault_;
};

struct Difference {
  double nats = 0;     // never-seen minus seen, nats a token
  double p_value = 0;  // share of relabelings with at least that difference
};

Difference Compare(const std::vector<double>& seen, const std::vector<double>& never) {
  std::vector<double> all = seen;
  all.insert(all.end(), never.begin(), never.end());
  const double total = std::accumulate(all.begin(), all.end(), 0.0);
  const auto difference = [&](unsigned labels) {
    double sum = 0;
    for (size_t i = 0; i < all.size(); ++i) sum += (labels >> i & 1) != 0 ? all[i] : 0;
    return (total - 2 * sum) / kCanaries;
  };
  Difference result;
  result.nats = difference((1u << kCanaries) - 1);
  int as_large = 0, ways = 0;
  for (unsigned labels = 0; labels < 1u << (2 * kCanaries); ++labels) {
    if (std::popcount(labels) != kCanaries) continue;
    ++ways;
    as_large += difference(labels) >= result.nats - 1e-12 ? 1 : 0;
  }
  result.p_value = static_cast<double>(as_large) / ways;
  return result;
}

TEST(CanaryTest, AForgottenSentenceIsNoBetterKnownThanOneNeverSeen) {
  const std::vector<std::string> seen = MakeCanaries(kCanaries, 11);
  const std::vector<std::string> never = MakeCanaries(kCanaries, 12);
  const std::vector<std::string> ordinary = OrdinaryTexts(60);
  Owner owner("canary"), control("canary-control");
  std::vector<int64_t> canary_ids;
  for (size_t i = 0; i < ordinary.size(); ++i) {
    owner.Write(ordinary[i]);
    control.Write(ordinary[i]);
    if (i % 2 == 0 && i / 2 < kCanaries * kCopies) {
      canary_ids.push_back(
          owner.Write("note " + std::to_string(i) + ": " + seen[i / 2 % kCanaries]));
    }
  }
  ASSERT_EQ(canary_ids.size(), static_cast<size_t>(kCanaries * kCopies));

  owner.Personalize();
  const Difference before = Compare(owner.Losses(seen), owner.Losses(never));
  // Without this the test would prove nothing: what is learned is seen to be learned.
  EXPECT_GT(before.nats, 0.3);
  EXPECT_LE(before.p_value, 1.5 / 924);

  owner.Forget(canary_ids);
  owner.Personalize();
  const Difference after = Compare(owner.Losses(seen), owner.Losses(never));
  EXPECT_LT(after.nats, 0.1 * before.nats);
  EXPECT_GT(after.p_value, 0.05);
  RecordProperty("nats_before", std::to_string(before.nats));
  RecordProperty("nats_after", std::to_string(after.nats));

  // Stronger than any test of losses: a device that never held the canaries has the same adapter.
  control.Personalize();
  EXPECT_EQ(owner.AdapterBytes(), control.AdapterBytes());
  std::printf(
      "canaries: never-seen minus seen %.3f nats a token (p %.4f), after forgetting %.3f (p "
      "%.2f)\n",
      before.nats, before.p_value, after.nats, after.p_value);
}

}  // namespace
}  // namespace lorikeet
