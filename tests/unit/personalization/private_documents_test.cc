#include "device/personalization/private_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/strings.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PrivateDocumentsTest, CutsAtLineThenSentenceThenSpace) {
  EXPECT_THAT(CutText("short", 100), ElementsAre("short"));
  EXPECT_THAT(CutText("   \n ", 100), ElementsAre());
  EXPECT_THAT(CutText("aaaa bbbb\ncccc dddd", 12), ElementsAre("aaaa bbbb\n", "cccc dddd"));
  EXPECT_THAT(CutText("One two. Three four", 12), ElementsAre("One two. ", "Three four"));
  EXPECT_THAT(CutText("aaaaaaa bbbbbbb", 10), ElementsAre("aaaaaaa ", "bbbbbbb"));
  EXPECT_THAT(CutText("aaaaaaaaaa", 4), ElementsAre("aaaa", "aaaa", "aa"));
  // Never inside a UTF-8 sequence.
  EXPECT_THAT(CutText("\xE2\x82\xAC\xE2\x82\xAC", 4), ElementsAre("\xE2\x82\xAC", "\xE2\x82\xAC"));
}

TEST(PrivateDocumentsTest, SplitsByDocumentAndKeepsTheLastForTheJudge) {
  OwnerText text{.documents = Private(QuietTexts(40)), .judge = {}};
  const auto split = SplitText(*LoadTinyModel(), text);
  ASSERT_TRUE(split.ok()) << split.status();
  const auto total =
      static_cast<double>(PredictedTokens(split->train) + PredictedTokens(split->selection) +
                          PredictedTokens(split->judge));
  EXPECT_NEAR(static_cast<double>(PredictedTokens(split->judge)) / total, 0.2, 0.04);
  EXPECT_NEAR(static_cast<double>(PredictedTokens(split->selection)) / total, 0.15, 0.04);
  EXPECT_EQ(split->train.size() + split->selection.size() + split->judge.size(), 40u);
  EXPECT_EQ(split->train[0].tokens[0], LoadTinyModel()->tokenizer().bos());
  EXPECT_EQ(split->style.document_count,
            static_cast<int64_t>(split->train.size() + split->selection.size()));
}

TEST(PrivateDocumentsTest, AGivenJudgeIsNotCutFromTheDocuments) {
  OwnerText text{.documents = Private(QuietTexts(20)), .judge = Private(ShoutingTexts(3))};
  const auto split = SplitText(*LoadTinyModel(), text);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->judge.size(), 3u);
  EXPECT_EQ(split->train.size() + split->selection.size(), 20u);
}

TEST(PrivateDocumentsTest, OneLongDocumentIsCutSoThatEveryPartGetsSome) {
  std::string all;
  for (const std::string& line : QuietTexts(20)) all += line + "\n";
  OwnerText text{.documents = Private({all}), .judge = {}};
  const auto split = SplitText(*LoadTinyModel(), text);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_GE(split->train.size(), 4u);
  EXPECT_GE(split->selection.size(), 1u);
  EXPECT_GE(split->judge.size(), 2u);
}

TEST(PrivateDocumentsTest, WhatMeasuresIsCutIntoPassages) {
  std::vector<std::string> pages(12);  // of six lines
  const std::vector<std::string> lines = QuietTexts(78);
  for (size_t i = 0; i < 72; ++i) pages[i / 6] += lines[i] + " ";
  std::string page;
  for (size_t i = 72; i < 78; ++i) page += lines[i] + " ";
  const auto model = LoadTinyModel();
  constexpr size_t kMost = kPassageBytes + 4;  // spaces that the tokenizer puts before
  const auto bytes = [&](const Sequence& sequence) {
    return model->tokenizer().Decode(sequence.tokens)->size();
  };
  const OwnerText own{.documents = Private(pages), .judge = {}};
  const OwnerText given{.documents = Private(pages), .judge = Private({page})};
  for (const OwnerText& text : {own, given}) {
    const auto split = SplitText(*model, text, {.window_tokens = 1000});
    ASSERT_TRUE(split.ok()) << split.status();
    for (const Sequence& passage : split->judge) EXPECT_LE(bytes(passage), kMost);
    for (const Sequence& passage : split->selection) EXPECT_LE(bytes(passage), kMost);
    EXPECT_GE(split->judge.size(), 2u);
    EXPECT_GE(split->selection.size(), 3u);
    EXPECT_GT(bytes(split->train.front()), kMost);
  }
}

TEST(PrivateDocumentsTest, TooLittleTextSaysHowMuchThereWas) {
  for (const std::vector<std::string>& documents :
       {std::vector<std::string>{}, {""}, {"  \n"}, {"hi"}, {"hi", "yo", "ok"}}) {
    const auto status =
        SplitText(*LoadTinyModel(), {.documents = Private(documents), .judge = {}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(status)), HasSubstr("expected at least 64 tokens"));
    EXPECT_THAT(std::string(Message(status)), ::testing::Not(HasSubstr("yo")));
  }
}

TEST(PrivateDocumentsTest, WindowsAreNoLongerThanAsked) {
  std::string line;
  for (int i = 0; i < 400; ++i) line += "nine ";
  const auto sequences = TokenizeDocuments(*LoadTinyModel(), Private({line}), 32);
  ASSERT_GT(sequences.size(), 2u);
  for (const Sequence& sequence : sequences) EXPECT_LE(sequence.tokens.size(), 32u);
}

TEST(PrivateDocumentsTest, BytesThatAreNotUtf8AreTokenizedToo) {
  const auto sequences = TokenizeDocuments(*LoadTinyModel(), Private({"a\xFF\xFE\x80z"}), 32);
  ASSERT_EQ(sequences.size(), 1u);
  EXPECT_GE(sequences[0].tokens.size(), 5u);
}

}  // namespace
}  // namespace lorikeet
