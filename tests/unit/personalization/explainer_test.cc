#include "device/personalization/explainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/base/strings.h"
#include "device/personalization/private_documents.h"
#include "device/runtime/session.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Sequence> Tokens(const std::vector<std::string>& texts) {
  return TokenizeDocuments(*LoadTinyModel(), Private(texts), 64);
}

AxesDefinition TwoAxes() {
  return {{{.word = "loud",
            .opposite = "quiet",
            .positive = ShoutingTexts(6),
            .contrast = QuietTexts(6)},
           {.word = "dotted",
            .opposite = "",
            .positive = {"a. b. c. d. e. f.", "g. h. i. j. k. l."},
            .contrast = {"a b c d e f", "g h i j k l"}}}};
}

const ExplanationAxes& TestAxes() {
  static const auto* const axes =
      new ExplanationAxes(MakeAxes(LoadTinyModel(), TestPool(), TwoAxes(), PlainTexts()).value());
  return *axes;
}

std::vector<size_t> Lengths(const std::vector<TokenSpan>& spans) {
  std::vector<size_t> lengths;
  for (const TokenSpan span : spans) lengths.push_back(span.size());
  return lengths;
}

TEST(ShareTokensTest, ShortDocumentsLeaveTheirShareToLongOnes) {
  const std::vector<TokenId> ids(100, 1);
  const TokenSpan all(ids);
  const std::vector<TokenSpan> documents = {all, all.first(3), TokenSpan(), all.first(20)};
  EXPECT_THAT(Lengths(ShareTokens(documents, 63)), ElementsAre(40, 3, 20));
  EXPECT_THAT(Lengths(ShareTokens(documents, 43)), ElementsAre(20, 3, 20));
  EXPECT_THAT(Lengths(ShareTokens(documents, 1000)), ElementsAre(100, 3, 20));
  EXPECT_TRUE(ShareTokens(documents, 0).empty());
  EXPECT_TRUE(ShareTokens({}, 50).empty());
}

TEST(ShareTokensTest, ManyDocumentsAreThinnedEvenly) {
  std::vector<TokenId> ids(50);
  const TokenSpan all(ids);
  std::vector<TokenSpan> documents;
  for (size_t i = 0; i < 40; ++i) documents.push_back(all.subspan(i));  // of 50, 49, ... 11 tokens
  const std::vector<TokenSpan> some = ShareTokens(documents, 48);
  EXPECT_THAT(Lengths(some), ElementsAre(12, 12, 12, 12));
  EXPECT_EQ(some[1].data(), all.data() + 10);
  EXPECT_EQ(some[3].data(), all.data() + 30);
}

TEST(HiddenMeanTest, IsTheMeanOfWhatTheNextTokensAreMadeFrom) {
  const auto model = LoadTinyModel();
  const std::vector<TokenId> first = model->tokenizer().Encode("The road runs past the mill.");
  const std::vector<TokenId> second = model->tokenizer().Encode("It is long.");
  auto session = Session::Create(model, TestPool(), {.context_length = 128}).value();
  std::vector<TokenId> all = {*model->tokenizer().bos()};
  all.insert(all.end(), first.begin(), first.end());
  all.insert(all.end(), second.begin(), second.end());
  std::vector<double> expected(static_cast<size_t>(model->config().embedding_length));
  for (size_t t = 0; t < all.size(); ++t) {
    ASSERT_TRUE(session->Decode(std::span(all).subspan(t, 1), false).ok());
    for (size_t c = 0; t >= 4 && c < expected.size(); ++c) {
      expected[c] += session->last_hidden()[c] / static_cast<double>(all.size() - 4);
    }
  }
  HiddenMean reader = HiddenMean::Create(model, TestPool()).value();
  const std::vector<TokenSpan> documents = {first, second};
  const auto mean = reader.Read(documents);
  ASSERT_TRUE(mean.ok()) << mean.status();
  for (size_t c = 0; c < expected.size(); ++c) EXPECT_NEAR((*mean)[c], expected[c], 2e-3) << c;
  EXPECT_EQ(*reader.Read(documents), *mean) << "nothing is left of the pass before";
}

TEST(HiddenMeanTest, ReadsMoreThanOneWindowAndRefusesNothing) {
  const auto model = LoadTinyModel();
  HiddenMean reader = HiddenMean::Create(model, TestPool()).value();
  const std::vector<TokenId> ids = model->tokenizer().Encode(std::string(2000, 'x') + " the end.");
  const std::vector<TokenSpan> documents = {ids};
  ASSERT_TRUE(reader.Read(documents).ok());
  const std::vector<TokenSpan> one = {TokenSpan(ids).first(1)};
  EXPECT_TRUE(reader.Read(one).ok());
  EXPECT_EQ(reader.Read({}).status().code(), absl::StatusCode::kInvalidArgument);
  const std::vector<TokenId> outside = {1, model->config().vocabulary_size};
  const std::vector<TokenSpan> bad = {outside};
  EXPECT_THAT(std::string(Message(reader.Read(bad).status())), HasSubstr("token id"));
}

TEST(ExplainerTest, SaysWhichVoiceItHears) {
  EXPECT_THAT(TestAxes().words, ElementsAre("loud", "quiet", "dotted"));
  const auto explainer = Explainer::Create(LoadTinyModel(), TestPool(), TestAxes());
  ASSERT_TRUE(explainer.ok()) << explainer.status();
  const Explanation loud = (*explainer)->Explain(Tokens(ShoutingTexts(20))).value();
  const Explanation quiet = (*explainer)->Explain(Tokens(QuietTexts(20))).value();
  EXPECT_GT(loud.weights[0], 0.2);
  EXPECT_EQ(loud.weights[1], 0);
  EXPECT_GT(quiet.weights[1], 0.2);
  EXPECT_EQ(quiet.weights[0], 0);
  EXPECT_LT(loud.residual, 0.9);
  EXPECT_GT(loud.residual, 0);
  const Explanation again = (*explainer)->Explain(Tokens(ShoutingTexts(7))).value();
  EXPECT_LT(ExplanationDistance(again, loud), ExplanationDistance(again, quiet));
  // Neutral text is nearer to nothing than either.
  const Explanation plain = (*explainer)->Explain(Tokens(PlainTexts())).value();
  EXPECT_LT(plain.weights[0] + plain.weights[1], loud.weights[0]);
  EXPECT_EQ((*explainer)->Explain(Tokens(QuietTexts(20)))->weights, quiet.weights);
}

TEST(ExplainerTest, ReadsNoMoreThanItMay) {
  const auto explainer = Explainer::Create(LoadTinyModel(), TestPool(), TestAxes()).value();
  std::vector<Sequence> documents = Tokens(ShoutingTexts(2));
  const Explanation shortened = explainer->Explain(documents, 24).value();
  for (Sequence& document : documents) document.tokens.resize(13);  // BOS and 12
  EXPECT_EQ(explainer->Explain(documents, 1000)->weights, shortened.weights);
  EXPECT_FALSE(explainer->Explain(documents, 0).ok());
  EXPECT_FALSE(explainer->Explain({}).ok());
}

TEST(ExplainerTest, RefusesAxesOfAnotherBase) {
  const absl::Status none = Explainer::Create(LoadTinyModel(), TestPool(), {}).status();
  EXPECT_THAT(std::string(Message(none)), HasSubstr("expected axes"));
  ExplanationAxes axes = TestAxes();
  axes.width = 2;
  axes.neutral_mean.resize(2);
  axes.neutral_spread.resize(2);
  axes.directions = {1, 0, -1, 0, 0, 1};
  const absl::Status other = Explainer::Create(LoadTinyModel(), TestPool(), axes).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(other)), HasSubstr("expected width 64 of this base, got 2"));
}

TEST(MakeAxesTest, NeedsNeutralTextAndSidesThatDiffer) {
  const auto fails = [](const AxesDefinition& definition, const std::vector<std::string>& neutral) {
    const auto axes = MakeAxes(LoadTinyModel(), TestPool(), definition, neutral);
    EXPECT_EQ(axes.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(Message(axes.status()));
  };
  EXPECT_THAT(fails(TwoAxes(), {"Few words."}), HasSubstr("at least 128 tokens, got"));
  EXPECT_THAT(fails(TwoAxes(), {}), HasSubstr("got 0"));
  EXPECT_THAT(fails({}, PlainTexts()), HasSubstr("at least one axis"));
  AxesDefinition same = TwoAxes();
  same.axes[1].contrast = same.axes[1].positive;
  EXPECT_THAT(fails(same, PlainTexts()), HasSubstr("axis \"dotted\""));
}

TEST(MakeAxesTest, IsDeterministicAndTakesOneLongText) {
  const auto again = MakeAxes(LoadTinyModel(), TestPool(), TwoAxes(), PlainTexts());
  EXPECT_EQ(again->directions, TestAxes().directions);
  EXPECT_EQ(again->neutral_spread, TestAxes().neutral_spread);
  std::string book;
  for (int i = 0; i < 200; ++i) book += PlainTexts()[static_cast<size_t>(i % 12)] + "\n";
  const std::vector<std::string> books = {book};
  const auto axes = MakeAxes(LoadTinyModel(), TestPool(), TwoAxes(), books);
  ASSERT_TRUE(axes.ok()) << axes.status();
  EXPECT_TRUE(CheckExplanationAxes(*axes).ok());
}

}  // namespace
}  // namespace lorikeet
