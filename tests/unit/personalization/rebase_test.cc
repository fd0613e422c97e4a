#include "device/personalization/rebase.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

OwnerText TextOf(const std::vector<std::string>& texts) {
  return {.documents = Private(texts), .judge = {}};
}

TEST(TokenizeWholeTest, EveryByteIsPredictedWithAndWithoutABos) {
  const auto with_bos = LoadTinyModel();
  // The same file, whose key for the BOS has another name.
  std::string bytes = TinyModelBytes();
  constexpr std::string_view kKey = "tokenizer.ggml.bos_token_id";
  const size_t key = bytes.find(kKey);
  ASSERT_NE(key, std::string::npos);
  bytes.replace(key, kKey.size(), "tokenizer.ggml.xos_token_id");
  const std::string path = MakeTempDir("rebase") + "/model.gguf";
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  const auto without = Model::Load(path);
  ASSERT_TRUE(without.ok()) << without.status();
  ASSERT_TRUE(with_bos->tokenizer().bos().has_value());
  ASSERT_FALSE((*without)->tokenizer().bos().has_value());
  std::string text;
  for (const std::string& part : QuietTexts(5)) text += part;
  for (const auto& model : {with_bos, *without}) {
    const auto sequences = TokenizeWhole(*model, PrivateText(text), 32);
    EXPECT_GT(sequences.size(), 1u);
    EXPECT_EQ(PredictedTokens(sequences),
              static_cast<int64_t>(model->tokenizer().Encode(text).size()));
  }
}

TEST(SetJudgeApartTest, CutsWhatSplitTextWouldJudgeBy) {
  const OwnerText text = TextOf(ShoutingTexts(40));
  const OwnerText apart = SetJudgeApart(text, {});
  const auto model = LoadTinyModel();
  const TextSplit split = SplitText(*model, text).value();
  const auto judge = TokenizeDocuments(*model, apart.judge, SplitOptions().window_tokens);
  ASSERT_EQ(judge.size(), split.judge.size());
  for (size_t i = 0; i < judge.size(); ++i) EXPECT_EQ(judge[i].tokens, split.judge[i].tokens);
  EXPECT_EQ(SetJudgeApart(apart, {}).judge.size(), apart.judge.size());
}

PersonalizeOptions FastOptions() {
  PersonalizeOptions options;
  options.rank = 2;
  options.train = DefaultPersonalTraining();
  options.train.max_steps = 4;
  return options;
}

RebaseInput InputFor(const Catalog& catalog) {
  RebaseInput input;
  input.new_model = LoadTinyModel();
  input.catalog = &catalog;
  input.text = TextOf(ShoutingTexts(40));
  return input;
}

TEST(RebaseTest, TheSameBaseIsNoOther) {
  const Catalog catalog = EmptyCatalog();
  RebaseInput input = InputFor(catalog);
  input.old_model = input.new_model;
  const SystemClock clock;
  const auto result = Rebase(std::move(input), TestPool(), clock, FastOptions());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(RebaseTest, AnOldSideThatKnowsTheOwnerStays) {
  // The old side: another base with an adapter that was trained well; the new one hardly learns.
  const Catalog catalog = EmptyCatalog();
  RebaseInput input = InputFor(catalog);
  input.old_model = Model::Load(WriteTinyModel({.seed = 2})).value();
  BasisOptions basis;
  basis.rank = 4;
  basis.text.group_count = 3;
  const Catalog old_catalog = InitCatalog(input.old_model, TestPool(), PlainTexts(), basis).value();
  const SystemClock clock;
  PersonalizeOptions thorough = FastOptions();
  thorough.train.max_steps = 60;
  const auto old = Personalize(input.old_model, TestPool(), clock, old_catalog,
                               TextOf(ShoutingTexts(40)), thorough);
  ASSERT_TRUE(old.ok() && old->adapter.has_value()) << old.status();
  input.old_adapter = old->adapter;
  PersonalizeOptions hardly = FastOptions();
  hardly.train.max_steps = 1;
  hardly.train.learning_rate = 1e-9;
  const auto result = Rebase(std::move(input), TestPool(), clock, hardly);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->compared);
  EXPECT_FALSE(result->keep_new);
  EXPECT_GT(result->new_nats_per_byte, result->old_nats_per_byte);
  EXPECT_THAT(result->verdict, HasSubstr("kept the old side"));
  EXPECT_THAT(result->verdict, HasSubstr("the old base must stay"));
}

TEST(RebaseTest, WithoutTheOldBaseTheNewOneAloneIsTheRival) {
  const Catalog catalog = EmptyCatalog();
  PersonalizeOptions options = FastOptions();
  options.train.max_steps = 60;
  const SystemClock clock;
  const auto result = Rebase(InputFor(catalog), TestPool(), clock, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->compared);
  EXPECT_EQ(result->keep_new, result->trained.outcome == Outcome::kKept);
  EXPECT_TRUE(result->keep_new) << result->verdict;
  EXPECT_THAT(result->verdict, HasSubstr("could not be compared"));
}

}  // namespace
}  // namespace lorikeet
