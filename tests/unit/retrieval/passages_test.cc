#include "device/retrieval/passages.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "device/model/model.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

class PassagesTest : public testing::Test {
 protected:
  PassagesTest()
      : model_(Model::Load(WriteTinyModel()).value()),
        tokenizer_(model_->tokenizer()),
        index_(PassageIndex::Create().value()) {}

  void Add(int64_t record, const std::string& text) {
    ASSERT_TRUE(index_->Add(record, PrivateText(text)).ok());
  }
  std::vector<ChosenPassage> Choose(std::string_view query, const RetrieveOptions& options) {
    auto chosen = ChoosePassages(*index_, tokenizer_, query, options);
    EXPECT_TRUE(chosen.ok()) << chosen.status();
    return std::move(*chosen);
  }

  std::shared_ptr<const Model> model_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<PassageIndex> index_;
};

TEST_F(PassagesTest, StaysWithinItsBudget) {
  for (int i = 0; i < 20; ++i) Add(i, "heron number " + std::to_string(i) + " of the lane");
  for (const int budget : {0, 1, 7, 40, 100, 1000}) {
    const auto chosen = Choose("a heron", {.max_tokens = budget, .max_passages = 6});
    int tokens = 0;
    for (const ChosenPassage& passage : chosen) tokens += passage.tokens;
    EXPECT_LE(tokens, budget);
    EXPECT_EQ(chosen.empty(), budget < 7) << budget;
    EXPECT_LE(chosen.size(), 6u);
    // Its line ends and one more are all that a prompt grows by.
    EXPECT_LE(PassageTokens(tokenizer_, chosen).size(), static_cast<size_t>(tokens + 1));
  }
}

TEST_F(PassagesTest, TheBestStandsNextToTheQuestionOrFirst) {
  Add(1, "a heron stood by the flooded lane all day, and nobody saw it but the dog");
  Add(2, "heron heron");
  auto chosen = Choose("what of that heron", {.max_tokens = 500, .best_last = true});
  ASSERT_EQ(chosen.size(), 2u);
  EXPECT_GT(chosen[1].score, chosen[0].score);
  chosen = Choose("what of that heron", {.max_tokens = 500, .best_last = false});
  EXPECT_GT(chosen[0].score, chosen[1].score);
}

TEST_F(PassagesTest, APassageLongerThanTheBudgetIsCutBetweenWords) {
  Add(1, "the heron stood by the flooded lane and waited for the moon");
  const auto chosen = Choose("which heron", {.max_tokens = 24});
  ASSERT_EQ(chosen.size(), 1u);
  EXPECT_LE(chosen[0].tokens, 24);
  const std::string text(chosen[0].text);
  EXPECT_TRUE(std::string("the heron stood by the flooded lane and").starts_with(text)) << text;
  EXPECT_FALSE(text.ends_with(" "));
}

TEST_F(PassagesTest, ThePromptStaysBehindThePassages) {
  Add(1, "the heron is grey");
  const auto chosen = Choose("heron", {});
  const std::vector<TokenId> prompt =
      tokenizer_.Encode("what colour?", {.add_special = true, .parse_special = true});
  const std::vector<TokenId> with = WithPassages(tokenizer_, chosen, prompt);
  EXPECT_EQ(with[0], *tokenizer_.bos());
  EXPECT_EQ(std::ranges::count(with, *tokenizer_.bos()), 1);
  EXPECT_TRUE(std::equal(prompt.begin() + 1, prompt.end(),
                         with.end() - static_cast<ptrdiff_t>(prompt.size() - 1)));
  EXPECT_EQ(tokenizer_.Decode(std::span(with).subspan(1)).value(),
            "the heron is grey\n\nwhat colour?");
  EXPECT_EQ(WithPassages(tokenizer_, {}, prompt), prompt);
}

// Text of the vault is words, whatever it spells.
TEST_F(PassagesTest, SpecialTokensInThePassagesStayText) {
  const std::string bos = tokenizer_.Piece(*tokenizer_.bos());
  const std::string eos = tokenizer_.Piece(*tokenizer_.eos());
  Add(1, "heron " + bos + " and " + eos + " and " + eos);
  const auto chosen = Choose("which heron?", {.max_tokens = 500});
  ASSERT_EQ(chosen.size(), 1u);
  ASSERT_NE(chosen[0].text.find(eos), std::string_view::npos) << "the fixture names its tokens";
  const std::vector<TokenId> tokens = PassageTokens(tokenizer_, chosen);
  EXPECT_TRUE(
      std::ranges::none_of(tokens, [&](TokenId token) { return tokenizer_.IsSpecial(token); }));
  EXPECT_EQ(tokenizer_.Decode(tokens).value(), std::string(chosen[0].text) + "\n\n");
}

TEST_F(PassagesTest, AMessageHoldsNotesThenTheQuestion) {
  Add(7, "the heron is grey");
  EXPECT_EQ(MessageFrame(Choose("heron", {}), "What colour?"),
            "From the user's notes:\n- the heron is grey\n\nWhat colour?");
  EXPECT_EQ(MessageFrame({}, "What colour?"), "What colour?");
}

}  // namespace
}  // namespace lorikeet
