#include "device/trainer/data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/gguf/reader.h"
#include "tests/support/shared_data.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

TEST(CheckTextTest, NamesTheFirstBadByte) {
  EXPECT_TRUE(CheckText("plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\xa6\x9c", "t").ok());
  EXPECT_EQ(CheckText("", "t").code(), absl::StatusCode::kInvalidArgument);
  const char* bad[] = {"abc\xff",         "abc\xc3",         "abc\xc0\x80",
                       "abc\xed\xa0\x80", "abc\xe0\x80\x80", "abc\xf4\x90\x80\x80",
                       "abc\x80"};
  for (const char* text : bad) {
    const absl::Status status = CheckText(text, "diary");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("position 3"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("diary"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("abc")));
  }
}

class ReadDocumentsTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, std::string_view content) {
    const std::string path = MakeTempDir("data-test") + "/" + name;
    EXPECT_TRUE(WriteFileAtomic(path, content).ok());
    return path;
  }
};

TEST_F(ReadDocumentsTest, ATextFileIsOneDocument) {
  const auto set = ReadDocuments(Write("a.txt", "\xef\xbb\xbfone\n\ntwo\n"));
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->train.size(), 1u);
  EXPECT_EQ(set->train[0].text, "one\n\ntwo\n");
  EXPECT_TRUE(set->test.empty());
}

TEST_F(ReadDocumentsTest, SamplesAreChosenByUserAndSplit) {
  const std::string path = Write("samples.jsonl", R"({"user":"ann","split":"train","text":"a1"}
{"user":"bob","split":"train","text":"b1"}

{"user":"ann","split":"test","text":"a2"}
{"user":"ann","split":"test_other_work","text":"a3"}
{"user":"ann","split":"train","text":""}
)");
  const auto ann = ReadDocuments(path, "ann");
  ASSERT_TRUE(ann.ok()) << ann.status();
  ASSERT_EQ(ann->train.size(), 1u);
  EXPECT_EQ(ann->train[0].text, "a1");
  ASSERT_EQ(ann->test.size(), 1u);
  EXPECT_EQ(ann->test[0].text, "a2");
  EXPECT_EQ(ReadDocuments(path)->train.size(), 2u);
  EXPECT_EQ(ReadDocuments(path, "eve").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ReadDocumentsTest, ReadsConversations) {
  const auto set = ReadDocuments(Write(
      "chat.jsonl",
      R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]})"));
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->train[0].messages.size(), 2u);
  EXPECT_EQ(set->train[0].messages[1].content, "ho");
}

TEST_F(ReadDocumentsTest, NamesTheMalformedLine) {
  for (const char* line : {"{\"text\":", "[1]", "{\"words\":\"x\"}", "{\"text\":3}",
                           "{\"messages\":\"x\"}", "{\"messages\":[{\"role\":\"user\"}]}"}) {
    const auto set = ReadDocuments(Write("bad.jsonl", std::string("{\"text\":\"ok\"}\n") + line));
    EXPECT_EQ(set.status().code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(set.status().message()), HasSubstr("line 2")) << line;
  }
  EXPECT_EQ(ReadDocuments(Write("a.txt", "")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadDocuments(Write("a.doc", "x")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadDocuments("/nowhere/a.txt").status().code(), absl::StatusCode::kNotFound);
}

class DatasetTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { model_ = LoadTiny({.add_bos = GetParam()}); }
  const Tokenizer& tokenizer() const { return model_->tokenizer(); }

  // The learned tokens of sequences, joined.
  std::vector<TokenId> Learned(const std::vector<Sequence>& sequences) const {
    std::vector<TokenId> tokens;
    for (const Sequence& sequence : sequences) {
      for (size_t i = 1; i < sequence.tokens.size(); ++i) {
        if (sequence.loss_mask.empty() || sequence.loss_mask[i] > 0) {
          tokens.push_back(sequence.tokens[i]);
        }
      }
    }
    return tokens;
  }

  std::shared_ptr<const Model> model_;
};

INSTANTIATE_TEST_SUITE_P(Bos, DatasetTest, ::testing::Bool());

TEST_P(DatasetTest, WindowsPredictEveryTokenOnce) {
  const std::string text(500, 'x');
  const std::string mixed = "The quick brown fox jumps. " + text + " And again it jumps!";
  const std::string_view texts[] = {mixed};
  const auto sequences = MakeSequences(tokenizer(), texts, {.context_length = 16});
  ASSERT_TRUE(sequences.ok()) << sequences.status();
  std::vector<TokenId> expected = tokenizer().Encode(mixed);
  if (!GetParam()) expected.erase(expected.begin());
  EXPECT_EQ(Learned(*sequences), expected);
  for (const Sequence& sequence : *sequences) {
    EXPECT_LE(sequence.tokens.size(), 16u);
    if (GetParam()) {
      EXPECT_EQ(sequence.tokens[0], *tokenizer().bos());
    }
  }
}

TEST_P(DatasetTest, HoldsOutTheEndBetweenDocumentsWhereItCan) {
  std::vector<std::string> owned;
  for (int i = 0; i < 20; ++i) {
    owned.push_back("Document number " + std::to_string(i) + " says something of its own.");
  }
  const std::vector<std::string_view> texts(owned.begin(), owned.end());
  const auto dataset = MakeDataset(tokenizer(), texts, {.context_length = 64, .eval_split = 0.1});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->train.size(), 18u);
  EXPECT_EQ(dataset->eval.size(), 2u);
  EXPECT_EQ(dataset->note, "");
  EXPECT_EQ(dataset->eval_tokens, static_cast<int64_t>(Learned(dataset->eval).size()));
}

TEST_P(DatasetTest, SplitsASingleDocumentByItsTokens) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "Line " + std::to_string(i) + " of one document. ";
  const std::string_view texts[] = {text};
  const auto dataset = MakeDataset(tokenizer(), texts, {.context_length = 64, .eval_split = 0.2});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const double total = static_cast<double>(dataset->train_tokens + dataset->eval_tokens);
  EXPECT_NEAR(static_cast<double>(dataset->eval_tokens) / total, 0.2, 0.02);
}

TEST_P(DatasetTest, SaysSoWhenNothingCanBeHeldOut) {
  const std::string_view few[] = {"Only a few words here, not many."};
  const auto dataset = MakeDataset(tokenizer(), few, {.context_length = 64});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_TRUE(dataset->eval.empty());
  EXPECT_THAT(dataset->note, HasSubstr("nothing held out"));
  const std::string_view tiny[] = {"a"};
  EXPECT_EQ(MakeDataset(tokenizer(), tiny, {}).status().code(), absl::StatusCode::kInvalidArgument);
  const std::string_view bad[] = {"fine", "not \xff fine"};
  const absl::Status status = MakeDataset(tokenizer(), bad, {}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("text 1"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("position 4"));
}

TEST_P(DatasetTest, TestDocumentsJudge) {
  DocumentSet set;
  set.train.push_back({"Words to learn from, a good number of them.", {}});
  set.test.push_back({"Words to judge by.", {}});
  const auto dataset = MakeDataset(tokenizer(), set, {.context_length = 64, .add_eos = true});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ASSERT_EQ(dataset->eval.size(), 1u);
  EXPECT_EQ(dataset->eval[0].tokens.back(), *tokenizer().eos());
  EXPECT_EQ(dataset->train.size(), 1u);
}

TEST_P(DatasetTest, OnlyRepliesOfAConversationAreLearned) {
  DocumentSet set;
  set.train.push_back({"",
                       {{"user", "What do parrots say?"},
                        {"assistant", "Hello, hello."},
                        {"user", "And then?"},
                        {"assistant", "Goodbye!"}}});
  const auto dataset = MakeDataset(tokenizer(), set, {.context_length = 200, .eval_split = 0});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  std::string learned;
  for (const TokenId token : Learned(dataset->train)) learned += tokenizer().Piece(token);
  EXPECT_EQ(learned, "Hello, hello.\nGoodbye!\n");
}

Document Talk(std::vector<ChatMessage> messages) { return {"", std::move(messages)}; }

TEST_P(DatasetTest, ConversationsWithoutAReplyAreLeftOutAndCounted) {
  DocumentSet set;
  set.train.push_back(Talk({{"user", "Is anybody there?"}}));
  set.train.push_back(
      Talk({{"user", "Hello?"}, {"assistant", "Yes, I am here, as ever and always."}}));
  const auto dataset = MakeDataset(tokenizer(), set, {.context_length = 200, .eval_split = 0});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->train.size(), 1u);
  EXPECT_EQ(dataset->note, "1 of 2 conversations left out: no reply of the assistant");

  set.train.pop_back();
  const absl::Status none = MakeDataset(tokenizer(), set, {.context_length = 200}).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(none.message()), HasSubstr("at least 8 tokens to learn, got 0"));
  EXPECT_THAT(std::string(none.message()), HasSubstr("1 of 1 conversations left out"));
}

TEST_P(DatasetTest, ConversationsLongerThanTheContextAreCutAndCounted) {
  std::vector<ChatMessage> messages;
  std::string replies;
  for (int i = 0; i < 6; ++i) {
    messages.push_back({"user", "Question number " + std::to_string(i) + " of many?"});
    messages.push_back({"assistant", "Reply number " + std::to_string(i) + " of as many."});
    replies += messages.back().content + "\n";
  }
  DocumentSet set;
  set.train.push_back(Talk(messages));
  const auto dataset = MakeDataset(tokenizer(), set, {.context_length = 24, .eval_split = 0});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_GT(dataset->train.size(), 2u);
  EXPECT_THAT(dataset->note, HasSubstr("1 of 1 conversations are longer than the context of 24"));
  std::string learned;
  for (const TokenId token : Learned(dataset->train)) learned += tokenizer().Piece(token);
  EXPECT_EQ(learned, replies);
}

TEST_P(DatasetTest, TextsWithoutATokenToLearnAreCounted) {
  DocumentSet set;
  set.train.push_back({"Words enough to learn from, certainly more than eight.", {}});
  const auto all = MakeDataset(tokenizer(), set, {.context_length = 64, .eval_split = 0});
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->note, "");
  set.train.push_back({"x", {}});  // nothing before it to predict it from, unless there is a BOS
  const auto dataset = MakeDataset(tokenizer(), set, {.context_length = 64, .eval_split = 0});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->note, GetParam() ? "" : "1 of 2 texts left out: no token to learn");
}

TEST_P(DatasetTest, ErrorsOfADocumentNameIt) {
  DocumentSet set;
  set.train.push_back({"Fine.", {}});
  set.train.push_back(Talk({{"narrator", "It rained."}}));
  const absl::Status status = MakeDataset(tokenizer(), set, {.context_length = 64}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("document 2 of 2"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("narrator"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("rained")));
}

TEST_P(DatasetTest, HoldsOutWholeConversations) {
  DocumentSet set;
  for (int i = 0; i < 10; ++i) {
    set.train.push_back(Talk({{"user", "Number " + std::to_string(i) + ", how do you do?"},
                              {"assistant", "Very well, thank you, and how are you?"}}));
  }
  const auto dataset = MakeDataset(tokenizer(), set, {.context_length = 128, .eval_split = 0.2});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->train.size(), 8u);
  EXPECT_EQ(dataset->eval.size(), 2u);
}

// Masks with the templates of published models: exactly the replies and what ends them, whether or
// not a window ends in the middle of one.
struct PublishedCase {
  const char* file;
  const char* learned;
};

class PublishedChatTest : public ::testing::TestWithParam<PublishedCase> {};

INSTANTIATE_TEST_SUITE_P(
    Templates, PublishedChatTest,
    ::testing::Values(PublishedCase{"golden/vocab/ggml-vocab-qwen2.gguf",
                                    "Hello, hello.<|im_end|>Good-bye, my friend!<|im_end|>"},
                      PublishedCase{"golden/vocab/ggml-vocab-llama-bpe.gguf",
                                    "Hello, hello.<|eot_id|>Good-bye, my friend!<|eot_id|>"}));

TEST_P(PublishedChatTest, LearnsExactlyRepliesAndTheirEnds) {
  LORIKEET_SHARED_OR_SKIP(path, GetParam().file);
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto tokenizer = Tokenizer::Create(*file).value();
  DocumentSet set;
  set.train.push_back(Talk({{"system", "Speak as parrots do."},
                            {"user", "What do parrots say?"},
                            {"assistant", "Hello, hello."},
                            {"user", "And then? <|im_end|><|eot_id|>"},
                            {"assistant", "Good-bye, my friend!"}}));
  for (const int context : {256, 16}) {
    const auto dataset = MakeDataset(*tokenizer, set, {.context_length = context, .eval_split = 0});
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    std::string learned;
    for (const Sequence& sequence : dataset->train) {
      EXPECT_LE(sequence.tokens.size(), static_cast<size_t>(context));
      for (size_t i = 1; i < sequence.tokens.size(); ++i) {
        if (sequence.loss_mask[i] > 0) learned += tokenizer->Piece(sequence.tokens[i]);
      }
    }
    EXPECT_EQ(learned, GetParam().learned) << "context " << context;
  }
}

}  // namespace
}  // namespace lorikeet
