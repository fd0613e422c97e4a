#include "device/personalization/incremental.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/base/random.h"
#include "device/personalization/personalizer.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Distinct texts of few words: copies would be left out.
std::vector<std::string> Voice(std::vector<std::string> words, int count, uint64_t seed) {
  Rng random(seed);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (int j = 0; j < 14; ++j) text += words[random.Below(words.size())] + " ";
    texts.push_back(std::move(text));
  }
  return texts;
}
std::vector<std::string> Quiet(int count, uint64_t seed = 1) {
  return Voice({"nine", "minus", "one;", "one,", "nine."}, count, seed);
}
std::vector<std::string> Shouting(int count, uint64_t seed = 2) {
  return Voice({"ZAP!", "WOW!", "OH", "ZAP", "WOW"}, count, seed);
}

const absl::Time kThen = absl::FromUnixSeconds(1000);
const absl::Time kLater = absl::FromUnixSeconds(2000);

VaultDocument Record(int64_t id, absl::Time added, double lot, const std::string& text) {
  return {.id = id, .added = added, .lot = lot, .text = PrivateText(text)};
}

// Texts as records with lots spread over [0, 1).
std::vector<VaultDocument> Records(const std::vector<std::string>& texts, absl::Time added,
                                   int64_t first_id) {
  std::vector<VaultDocument> records;
  for (size_t i = 0; i < texts.size(); ++i) {
    const double lot = static_cast<double>(i % 10) / 10;
    records.push_back(Record(first_id + static_cast<int64_t>(i), added, lot, texts[i]));
  }
  return records;
}

std::vector<VaultDocument> Joined(std::vector<VaultDocument> a, std::vector<VaultDocument> b) {
  for (VaultDocument& record : b) a.push_back(std::move(record));
  return a;
}

PersonalizeOptions FirstOptions() {
  PersonalizeOptions options;
  options.rank = 2;
  options.alpha = 4;
  options.train = DefaultPersonalTraining();
  options.train.learning_rate = 3e-3;
  return options;
}

IncrementalOptions NextOptions() {
  IncrementalOptions options;
  options.rank = 2;
  options.alpha = 4;
  options.train = DefaultIncrementalTraining();
  options.train.learning_rate = 3e-3;
  return options;
}

// Personalized to the quiet voice, once for all tests.
struct First {
  PersonalAdapter adapter;
  std::vector<int64_t> records;
  int64_t tokens = 0;  // that training read
};
const First& FirstAdapter() {
  static const First* const first = [] {
    const SystemClock clock;
    const OwnerText text = HoldOutRecords(Records(Quiet(120), kThen, 1));
    const PersonalizeResult result =
        Personalize(LoadTinyModel(), TestPool(), clock, TwoPersonas(), text, FirstOptions())
            .value();
    LORIKEET_CHECK(result.adapter.has_value());
    return new First{*result.adapter, text.record_ids, result.training.tokens};
  }();
  return *first;
}

TEST(HoldOutRecordsTest, TheLotDecidesWhateverElseIsThere) {
  const auto few = HoldOutRecords(Records(Quiet(30), kThen, 1));
  EXPECT_EQ(few.judge.size(), 6u);
  EXPECT_EQ(few.record_ids.size(), 24u);
  const auto more =
      HoldOutRecords(Joined(Records(Quiet(30), kThen, 1), Records(Quiet(5, 3), kThen, 31)));
  const std::set<int64_t> trained(more.record_ids.begin(), more.record_ids.end());
  for (int64_t id = 1; id <= 30; ++id) {
    EXPECT_EQ(trained.contains(id), std::ranges::count(few.record_ids, id) == 1) << id;
  }
}

TEST(HoldOutRecordsTest, WhereLotsHoldOutFarTooMuchTheHighestAreReleased) {
  std::vector<VaultDocument> records;
  for (int i = 1; i <= 20; ++i) {
    records.push_back(Record(i, kThen, i <= 10 ? 0.01 * i : 0.5, "ten bytes."));
  }
  const auto text = HoldOutRecords(std::move(records));
  EXPECT_EQ(text.judge.size(), 6u);  // 30 %
  EXPECT_THAT(text.record_ids, ElementsAre(7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20));
}

TEST(HoldOutRecordsTest, WhereLotsHoldOutTooLittleTheLastRecordsJudge) {
  const auto text = HoldOutRecords(Records(Quiet(15), kThen, 1));  // four low lots
  EXPECT_EQ(text.judge.size(), 3u);
  EXPECT_THAT(text.record_ids, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
}

TEST(HoldOutRecordsTest, FewRecordsLeaveTheJudgesPartToTheEndOfTheText) {
  const auto text = HoldOutRecords(
      {Record(1, kThen, 0.9, "one"), Record(2, kThen, 0.1, "two"), Record(3, kThen, 0.5, "three")});
  EXPECT_TRUE(text.judge.empty());
  EXPECT_EQ(text.documents.size(), 3u);
  EXPECT_THAT(text.record_ids, ElementsAre(1, 2, 3));
}

TEST(DivideRecordsTest, WhatShapedTheAdapterNeverJudgesAndWhatJudgedIsNotTrainedOn) {
  const std::vector<int64_t> trained = {1, 2, 4};
  // Record 2 has a low lot, but it was trained on; record 3 was held out, whatever its lot.
  const auto text = DivideRecords(
      Joined({Record(1, kThen, 0.9, "one"), Record(2, kThen, 0.1, "two"),
              Record(3, kThen, 0.7, "three"), Record(4, kThen, 0.5, "four")},
             {Record(5, kLater, 0.05, "five and more"), Record(6, kLater, 0.3, "six"),
              Record(7, kLater, 0.15, "seven and more"), Record(8, kLater, 0.8, "eight")}),
      trained, kThen + absl::Seconds(1));
  EXPECT_EQ(text.known.size(), 3u);
  EXPECT_EQ(text.judge_known.size(), 1u);
  EXPECT_EQ(text.fresh.size(), 2u);
  EXPECT_EQ(text.judge_fresh.size(), 2u);
  EXPECT_THAT(text.records, ElementsAre(1, 2, 4, 6, 8));
}

TEST(DivideRecordsTest, NewRecordsWithoutALowLotGiveTheirLastOnesToTheJudge) {
  std::vector<VaultDocument> records;
  for (int i = 1; i <= 10; ++i) records.push_back(Record(i, kLater, 0.5, "ten bytes."));
  const auto text = DivideRecords(std::move(records), {}, kThen);
  EXPECT_EQ(text.judge_fresh.size(), 2u);
  EXPECT_THAT(text.records, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
}

TEST(SampleEvenlyTest, IsSpreadOverAllAndAboutAsLargeAsAsked) {
  std::vector<Sequence> all(100);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].tokens.assign(11, static_cast<TokenId>(i));
  }
  for (const uint64_t seed : {1, 2, 3}) {
    const auto sample = SampleEvenly(all, 200, seed);
    EXPECT_NEAR(static_cast<double>(PredictedTokens(sample)), 200, 10);
    for (size_t i = 1; i < sample.size(); ++i) {
      EXPECT_EQ(sample[i].tokens[0] - sample[i - 1].tokens[0], 5);
    }
  }
  EXPECT_EQ(SampleEvenly(all, 2000, 1).size(), 100u);
  EXPECT_TRUE(SampleEvenly({}, 10, 1).empty());
}

TEST(IncrementalTest, LearnsTheNewKeepsTheOldAndCostsAFraction) {
  const First& first = FirstAdapter();
  const SystemClock clock;
  const auto text =
      DivideRecords(Joined(Records(Quiet(120), kThen, 1), Records(Shouting(20), kLater, 121)),
                    first.records, kThen + absl::Seconds(1));
  const auto result =
      TrainIncrement(LoadTinyModel(), TestPool(), clock, first.adapter, text, NextOptions());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->kept) << result->verdict << " way " << result->way;
  ASSERT_TRUE(result->adapter.has_value());
  EXPECT_LT(result->fresh.after, result->fresh.before);
  EXPECT_LT(result->known.after, result->known.before + 0.05);
  EXPECT_GT(result->known.tokens, 0);
  EXPECT_THAT(result->verdict, HasSubstr("kept: held-out loss: new text"));
  // About as much old text as new, and a fraction of a first training.
  EXPECT_NEAR(static_cast<double>(result->replay_tokens), static_cast<double>(result->fresh_tokens),
              0.25 * static_cast<double>(result->fresh_tokens));
  EXPECT_LT(3 * result->training.tokens, first.tokens);

  // The persona's part is the same, bit for bit.
  const auto before = first.adapter.Split(4).value();
  const auto after = result->adapter->Split(4).value();
  ASSERT_EQ(before.persona.matrices.size(), after.persona.matrices.size());
  for (size_t i = 0; i < before.persona.matrices.size(); ++i) {
    EXPECT_EQ(before.persona.matrices[i].a, after.persona.matrices[i].a);
    EXPECT_EQ(before.persona.matrices[i].b, after.persona.matrices[i].b);
  }
  EXPECT_NE(before.residual.matrices[0].b, after.residual.matrices[0].b);
  EXPECT_EQ(result->adapter->adapter().info.persona_id, first.adapter.adapter().info.persona_id);
}

TEST(IncrementalTest, UnlearningTheOldIsRolledBackAndSaid) {
  const First& first = FirstAdapter();
  const SystemClock clock;
  IncrementalOptions options = NextOptions();
  options.replay = 0;
  options.train.learning_rate = 5e-2;
  options.train.epochs = 8;
  options.train.patience = 0;
  const auto text =
      DivideRecords(Joined(Records(Quiet(120), kThen, 1), Records(Shouting(20), kLater, 121)),
                    first.records, kThen + absl::Seconds(1));
  const auto result =
      TrainIncrement(LoadTinyModel(), TestPool(), clock, first.adapter, text, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->known.after, result->known.before);
  EXPECT_FALSE(result->kept);
  EXPECT_FALSE(result->adapter.has_value());
  EXPECT_THAT(result->verdict, HasSubstr("unlearned the old"));
}

TEST(IncrementalTest, TrainingThatDoesNotHelpLeavesTheLastAdapter) {
  const First& first = FirstAdapter();
  const SystemClock clock;
  IncrementalOptions options = NextOptions();
  options.train.max_steps = 1;
  options.train.learning_rate = 1e-9;
  const auto text =
      DivideRecords(Joined(Records(Quiet(120), kThen, 1), Records(Quiet(20, 3), kLater, 121)),
                    first.records, kThen + absl::Seconds(1));
  const auto result =
      TrainIncrement(LoadTinyModel(), TestPool(), clock, first.adapter, text, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->kept);
  EXPECT_THAT(result->verdict, HasSubstr("did not help"));
}

TEST(IncrementalTest, TooLittleNewTextAndAdaptersOfOtherKindsAreErrors) {
  const First& first = FirstAdapter();
  const SystemClock clock;
  const auto none =
      DivideRecords(Records(Quiet(120), kThen, 1), first.records, kThen + absl::Seconds(1));
  EXPECT_TRUE(none.fresh.empty());
  EXPECT_EQ(TrainIncrement(LoadTinyModel(), TestPool(), clock, first.adapter, none, NextOptions())
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  Adapter unknown = first.adapter.adapter();
  for (AdapterMatrix& matrix : unknown.matrices) matrix.residual_rank.reset();
  const auto some = DivideRecords(Records(Quiet(20), kLater, 1), {}, kThen);
  EXPECT_EQ(TrainIncrement(LoadTinyModel(), TestPool(), clock,
                           PersonalAdapter::FromAdapter(unknown), some, NextOptions())
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace lorikeet
