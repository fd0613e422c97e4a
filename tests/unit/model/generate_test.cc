// Sampling, streaming, perplexity.
#include "device/runtime/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "device/runtime/perplexity.h"
#include "device/runtime/utf8_stream.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;

TEST(Utf8Stream, HoldsBackUnfinishedCharacters) {
  Utf8Stream stream;
  EXPECT_EQ(stream.Push("a\xE2\x82"), "a");
  EXPECT_EQ(stream.Push("\xAC!"), "\xE2\x82\xAC!");
  EXPECT_EQ(stream.Push("\xF0"), "");
  EXPECT_EQ(stream.Push("\x9F\xA6"), "");
  EXPECT_EQ(stream.Push("\x9C"), "\xF0\x9F\xA6\x9C");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(Utf8Stream, ReplacesWhatIsNoCharacter) {
  const auto clean = [](std::string_view bytes) {
    Utf8Stream stream;
    const std::string out = stream.Push(bytes);
    return out + stream.Finish();
  };
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(clean("\x80x"), bad + "x");
  EXPECT_EQ(clean("\xC3x"), bad + "x");
  EXPECT_EQ(clean("\xE2\x82"), bad);
  EXPECT_EQ(clean("\xC0\xAF"), bad + bad);                      // overlong
  EXPECT_EQ(clean("\xED\xA0\x80"), bad + bad + bad);            // surrogate
  EXPECT_EQ(clean("\xF4\x90\x80\x80"), bad + bad + bad + bad);  // above U+10FFFF
  EXPECT_EQ(clean("\xF0\x9F\xE2\x82\xAC"), bad + "\xE2\x82\xAC");
}

class GenerateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = *Model::Load(WriteTinyModel(options_));
    NewSession(64);
  }
  void NewSession(int context) {
    session_ = *Session::Create(model_, nullptr,
                                {.context_length = context, .precision = Precision::kExact});
  }
  std::vector<TokenId> Prompt() const {
    return model_->tokenizer().Encode("the rest", {.add_special = true});
  }
  static GenerateOptions Sampled(int count) {
    GenerateOptions options;
    options.max_tokens = count;
    options.ignore_end = true;
    options.sampling.temperature = 1.0;
    return options;
  }

  TinyModelOptions options_;
  std::shared_ptr<const Model> model_;
  std::unique_ptr<Session> session_;
};

TEST_F(GenerateTest, StreamsTheTextItReturns) {
  std::string streamed;
  const auto result = Generate(*session_, Prompt(), Sampled(40), [&](std::string_view text) {
    Utf8Stream check;
    // Every piece is valid UTF-8 by itself.
    EXPECT_EQ(check.Push(text), text);
    EXPECT_EQ(check.Finish(), "");
    streamed += text;
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->tokens.size(), 40u);
  EXPECT_EQ(result->stop_reason, StopReason::kLength);
  EXPECT_EQ(result->text, streamed);
  EXPECT_EQ(result->decoded_tokens, 39);
  EXPECT_FALSE(streamed.empty());
}

TEST_F(GenerateTest, EqualsDecodingByHand) {
  GenerateOptions options;
  options.max_tokens = 10;
  options.ignore_end = true;
  const auto result = Generate(*session_, Prompt(), options);
  ASSERT_TRUE(result.ok());
  NewSession(64);
  std::vector<TokenId> next = Prompt();
  for (const TokenId token : result->tokens) {
    const ConstMatrix logits = *session_->Decode(next, false);
    const float* row = logits.row(0);
    EXPECT_EQ(token, std::max_element(row, row + logits.cols) - row);
    next = {token};
  }
}

TEST_F(GenerateTest, StopsWhereItShould) {
  NewSession(20);
  const int prompt = static_cast<int>(Prompt().size());
  auto result = Generate(*session_, Prompt(), Sampled(100));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->stop_reason, StopReason::kContext);
  // The last token needs no position of its own.
  EXPECT_EQ(static_cast<int>(result->tokens.size()), 20 - prompt + 1);

  NewSession(64);
  const std::string stop = result->text.substr(result->text.size() / 2, 3);
  GenerateOptions options = Sampled(100);
  options.stop_texts = {stop};
  std::string streamed;
  const auto stopped = Generate(*session_, Prompt(), options, [&](std::string_view text) {
    streamed += text;
    return true;
  });
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(stopped->stop_reason, StopReason::kStopText);
  EXPECT_EQ(stopped->text, result->text.substr(0, result->text.find(stop)));
  EXPECT_EQ(streamed, stopped->text);

  NewSession(64);
  const auto cancelled =
      Generate(*session_, Prompt(), Sampled(100), [](std::string_view) { return false; });
  ASSERT_TRUE(cancelled.ok());
  EXPECT_EQ(cancelled->stop_reason, StopReason::kCancelled);
  EXPECT_LT(cancelled->tokens.size(), 10u);
}

TEST_F(GenerateTest, EndOfGenerationIsNotPartOfTheText) {
  // A random model ends sooner or later when any token may come.
  bool ended = false;
  for (uint64_t seed = 1; seed < 60 && !ended; ++seed) {
    NewSession(64);
    GenerateOptions options = Sampled(60);
    options.ignore_end = false;
    options.sampling.temperature = 5.0;
    options.sampling.seed = seed;
    const auto result = Generate(*session_, Prompt(), options);
    ASSERT_TRUE(result.ok());
    for (const TokenId id : result->tokens) EXPECT_NE(id, TinyModelEos(options_));
    ended = result->stop_reason == StopReason::kEndOfGeneration;
  }
  EXPECT_TRUE(ended);
}

TEST_F(GenerateTest, RefusesBadOptions) {
  EXPECT_FALSE(Generate(*session_, {}, {}).ok());
  GenerateOptions options;
  options.max_tokens = -1;
  EXPECT_FALSE(Generate(*session_, Prompt(), options).ok());
  EXPECT_EQ(Generate(*session_, std::vector<TokenId>(65, 1), {}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(GenerateTest, PerplexityScoresSecondHalvesAfterBos) {
  std::vector<TokenId> tokens(70);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 37 % 256);
  const auto result = Perplexity(*session_, tokens, 32);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->chunks, 2);
  EXPECT_EQ(result->tokens, 2 * 15);
  double sum = 0;
  for (int chunk = 0; chunk < 2; ++chunk) {
    std::vector<TokenId> part(tokens.begin() + chunk * 32, tokens.begin() + chunk * 32 + 32);
    part[0] = TinyModelBos(options_);
    const std::vector<float> nll = *session_->Score(part);
    for (int i = 16; i <= 30; ++i) sum += nll[i];
  }
  EXPECT_NEAR(result->mean_nll, sum / 30, 1e-5);
  EXPECT_NEAR(result->perplexity, std::exp(sum / 30), 1e-3 * result->perplexity);
  // Tokens below 256 are one byte each.
  EXPECT_NEAR(result->bits_per_byte, sum / 30 / std::log(2.0), 1e-5);
  EXPECT_FALSE(Perplexity(*session_, std::span(tokens).first(31), 32).ok());
  EXPECT_FALSE(Perplexity(*session_, tokens, 3).ok());
  EXPECT_FALSE(Perplexity(*session_, tokens, 65).ok());
}

}  // namespace
}  // namespace lorikeet
