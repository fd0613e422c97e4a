// Generating, streaming, perplexity.
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

// A text that may still become a stop text is held back; one that does is never seen.
TEST_F(GenerateTest, NoPartOfAStopTextIsStreamed) {
  GenerateOptions options = Sampled(60);
  const auto whole = Generate(*session_, Prompt(), options);
  ASSERT_TRUE(whole.ok());
  for (size_t at = 1; at + 4 < whole->text.size(); ++at) {
    // Two stop texts, the first to be complete counts; one is never complete.
    const std::string stop = whole->text.substr(at, 4);
    options.stop_texts = {whole->text.substr(at, 3) + "\x01never", stop};
    NewSession(128);
    std::string streamed;
    const auto result = Generate(*session_, Prompt(), options, [&](std::string_view text) {
      streamed += text;
      EXPECT_TRUE(whole->text.starts_with(streamed));
      return true;
    });
    ASSERT_TRUE(result.ok());
    const size_t first = whole->text.find(stop);
    EXPECT_EQ(result->text, whole->text.substr(0, first));
    EXPECT_EQ(streamed, result->text);
    EXPECT_EQ(result->stop_reason, StopReason::kStopText);
  }
}

TEST_F(GenerateTest, ShiftsTheContextExactly) {
  const std::vector<TokenId> prompt = Prompt();
  for (const int keep : {0, 3, 13}) {
    NewSession(24);
    GenerateOptions options = Sampled(60);
    options.context_shift = true;
    options.keep = keep;
    const auto result = Generate(*session_, prompt, options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->tokens.size(), 60u);
    EXPECT_EQ(result->stop_reason, StopReason::kLength);
    EXPECT_GE(result->context_shifts, 3);
    // The session holds the kept beginning and an end of the text, without its last token...
    std::vector<TokenId> text = prompt;
    text.insert(text.end(), result->tokens.begin(), result->tokens.end() - 1);
    const std::vector<TokenId> held(session_->tokens().begin(), session_->tokens().end());
    const size_t kept = std::max(keep, 1);  // a BOS stays
    ASSERT_LE(held.size(), 24u);
    ASSERT_GT(held.size(), kept);
    EXPECT_TRUE(std::equal(held.begin(), held.begin() + kept, text.begin()));
    EXPECT_TRUE(std::equal(held.begin() + kept, held.end(), text.end() - (held.size() - kept)));
    // ... and continues as one does that never held more.
    const TokenId last = result->tokens.back();
    const auto fresh = *Session::Create(
        model_, nullptr,
        SessionOptions{
            .context_length = 64, .precision = Precision::kExact, .kv_type = std::nullopt});
    for (const TokenId token : held) ASSERT_TRUE(fresh->Decode(std::span(&token, 1), false).ok());
    if (session_->position() == session_->context_length()) session_->Rewind(20), fresh->Rewind(20);
    const ConstMatrix expected = *fresh->Decode(std::span(&last, 1), false);
    const ConstMatrix logits = *session_->Decode(std::span(&last, 1), false);
    for (int64_t i = 0; i < logits.cols; ++i) {
      EXPECT_NEAR(logits.row(0)[i], expected.row(0)[i], 1e-4) << keep;
    }
  }
  GenerateOptions options = Sampled(60);
  options.context_shift = true;
  options.keep = 22;
  NewSession(24);
  EXPECT_EQ(Generate(*session_, prompt, options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(GenerateTest, StopsWhenAsked) {
  int asked = 0;
  GenerateOptions options = Sampled(60);
  options.stop_requested = [&] { return ++asked > 10; };
  const auto result = Generate(*session_, Prompt(), options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->stop_reason, StopReason::kCancelled);
  EXPECT_EQ(result->tokens.size(), 10u);
  EXPECT_FALSE(result->text.empty());
  // Before the prompt is decoded: nothing.
  options.stop_requested = [] { return true; };
  const auto nothing = Generate(*session_, Prompt(), options);
  ASSERT_TRUE(nothing.ok());
  EXPECT_EQ(nothing->stop_reason, StopReason::kCancelled);
  EXPECT_TRUE(nothing->tokens.empty());
}

TEST_F(GenerateTest, GoesOnWhereTheSessionStands) {
  // A prompt in two parts gives what it gives in one: penalties and lookup see both.
  const std::vector<TokenId> prompt = Prompt();
  GenerateOptions options = Sampled(20);
  options.sampling.repeat_penalty = 1.5;
  const auto once = Generate(*session_, prompt, options);
  NewSession(64);
  const std::span<const TokenId> all(prompt);
  ASSERT_TRUE(session_->Decode(all.first(3), false).ok());
  const auto twice = Generate(*session_, all.subspan(3), options);
  ASSERT_TRUE(once.ok() && twice.ok());
  EXPECT_EQ(once->tokens, twice->tokens);
  EXPECT_EQ(twice->prompt_tokens, static_cast<int>(prompt.size()) - 3);
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
  options.stop_texts = {""};
  EXPECT_FALSE(Generate(*session_, Prompt(), options).ok());
  options.stop_texts.clear();
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
