// Lookup decoding: the index, the policy, and that it never changes a text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "device/runtime/draft_policy.h"
#include "device/runtime/generate.h"
#include "device/runtime/lookup_decoder.h"
#include "device/runtime/lookup_index.h"
#include "kernels/isa.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;

std::vector<TokenId> RandomText(int count, int alphabet, uint64_t seed) {
  Rng rng(seed);
  std::vector<TokenId> text(count);
  for (TokenId& token : text) token = static_cast<TokenId>(rng.Below(alphabet));
  return text;
}

// Tokens that the end of `text` shares with what lies before `position` in `all`.
int SharedLength(std::span<const TokenId> all, size_t position, std::span<const TokenId> text) {
  int length = 0;
  while (length < LookupIndex::kLongest && static_cast<size_t>(length) < position &&
         static_cast<size_t>(length) < text.size() &&
         all[position - 1 - length] == text[text.size() - 1 - length]) {
    ++length;
  }
  return length;
}

TEST(LookupIndex, FindsTheLongestOfTheNewestCopies) {
  for (const int alphabet : {2, 5, 40}) {
    const std::vector<TokenId> text = RandomText(3000, alphabet, alphabet);
    LookupIndex index;
    for (size_t end = 0; end < text.size(); ++end) {
      const std::span<const TokenId> own = std::span(text).first(end);
      const LookupMatch match = index.Find(own);
      // By trying all: copies of the last three tokens, newest first.
      int best = 0, copies = 0, shortest = 0;
      for (size_t position = end; position-- > 0 && copies < 16;) {
        const int length = position == end ? 0 : SharedLength(own, position, own);
        if (length >= 2) shortest = std::max(shortest, 2);
        if (length < 3) continue;
        ++copies;
        best = std::max(best, length);
      }
      if (best > 0) {
        // Other n-grams may share the hash and take candidates' places: rarely.
        EXPECT_GE(match.length, 3);
        EXPECT_LE(match.length, best);
      } else {
        EXPECT_LE(match.length, shortest);
      }
      if (match.length > 0) {
        ASSERT_LT(match.position, end);
        EXPECT_EQ(SharedLength(own, match.position, own), match.length);
      }
      index.Append(text[end]);
    }
  }
}

TEST(LookupIndex, ContinuesAsTheTextDid) {
  LookupIndex index;
  index.Append(std::vector<TokenId>{7, 1, 2, 3, 4, 5, 9, 1, 2, 3});
  const LookupMatch match = index.Find(index.tokens());
  EXPECT_EQ(match.length, 3);
  std::vector<TokenId> draft;
  index.Continue(match, 4, &draft);
  EXPECT_THAT(draft, ElementsAre(4, 5, 9, 1));
  // Up to the end and around: what repeats goes on repeating.
  index.Continue(match, 8, &draft);
  EXPECT_THAT(draft, ElementsAre(4, 5, 9, 1, 2, 3, 4, 5));
  EXPECT_EQ(LookupIndex().Find(std::vector<TokenId>{1, 2, 3}).length, 0);
  EXPECT_EQ(index.Find(std::vector<TokenId>{3}).length, 0);
}

TEST(LookupIndex, PrefersTheLongerCopyToTheNewer) {
  LookupIndex index;
  index.Append(std::vector<TokenId>{8, 1, 2, 3, 50, 0, 6, 1, 2, 3, 60, 0, 0});
  std::vector<TokenId> draft;
  index.Continue(index.Find(std::vector<TokenId>{8, 1, 2, 3}), 1, &draft);
  EXPECT_THAT(draft, ElementsAre(50));
  index.Continue(index.Find(std::vector<TokenId>{9, 1, 2, 3}), 1, &draft);
  EXPECT_THAT(draft, ElementsAre(60));
  // Two tokens are enough where three are not known.
  const LookupMatch two = index.Find(std::vector<TokenId>{99, 2, 3});
  EXPECT_EQ(two.length, 2);
}

TEST(LookupIndex, TextsDoNotRunIntoEachOther) {
  LookupIndex index;
  index.Append(std::vector<TokenId>{1, 2, 3});
  index.EndText();
  index.Append(std::vector<TokenId>{4, 5, 6, 7});
  index.EndText();
  index.EndText();
  EXPECT_EQ(index.Find(std::vector<TokenId>{1, 2, 3}).length, 0);
  EXPECT_EQ(index.Find(std::vector<TokenId>{3, 4, 5}).length, 2);
  std::vector<TokenId> draft;
  index.Continue(index.Find(std::vector<TokenId>{4, 5}), 8, &draft);
  EXPECT_THAT(draft, ElementsAre(6, 7));
}

// Seconds and tokens of `passes` passes where a pass over n tokens costs 1 + slope (n - 1) and
// every draft is right with probability `right`, token by token.
struct Simulated {
  double seconds = 0;
  int tokens = 0;
  double gain() const { return tokens / seconds; }
};
Simulated Simulate(DraftPolicy& policy, int passes, double slope, double right, uint64_t seed) {
  Rng rng(seed);
  Simulated result;
  for (int i = 0; i < passes; ++i) {
    const int match_length = 2 + static_cast<int>(rng.Below(12));
    const int drafted = policy.Length(match_length, 100);
    int accepted = 0;
    while (accepted < drafted && rng.Uniform() < right) ++accepted;
    const double noise = 0.95 + 0.1 * rng.Uniform();
    const double seconds = (1 + slope * drafted) * noise;
    policy.Record(match_length, drafted, accepted, seconds);
    result.seconds += seconds;
    result.tokens += 1 + accepted;
  }
  return result;
}

TEST(DraftPolicy, LosesLittleWhereEveryDraftIsWrong) {
  for (const double slope : {0.02, 0.1, 0.3, 1.0, 3.0}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      DraftPolicy policy;
      // Half a pass and one try, then one in a hundred, give or take the noise.
      const double most = (0.5 + slope + 0.01 * 128) / 128;
      EXPECT_GT(Simulate(policy, 128, slope, 0.0, seed).gain(), 0.98 - most) << slope;
      EXPECT_GT(Simulate(policy, 1000, slope, 0.0, seed).gain(), 0.98) << slope;
    }
  }
}

TEST(DraftPolicy, TakesWhatRepeats) {
  DraftPolicy policy;
  EXPECT_GT(Simulate(policy, 60, 0.1, 1.0, 1).gain(), 3.0);
  // Where further tokens cost as much as first ones there is nothing to gain.
  DraftPolicy dear;
  EXPECT_GT(Simulate(dear, 500, 1.0, 0.9, 1).gain(), 0.97);
  DraftPolicy half;
  EXPECT_GT(Simulate(half, 200, 0.1, 0.5, 1).gain(), 1.3);
}

TEST(DraftPolicy, NoticesWhenTextsChange) {
  DraftPolicy policy;
  EXPECT_GT(Simulate(policy, 100, 0.1, 1.0, 1).gain(), 3.0);
  EXPECT_GT(Simulate(policy, 400, 0.1, 0.0, 2).gain(), 0.95);
  EXPECT_GT(Simulate(policy, 200, 0.1, 1.0, 3).gain(), 1.8);
}

TEST(DraftPolicy, StaysWithinItsLimit) {
  DraftPolicy policy;
  EXPECT_EQ(policy.Length(20, 8), 0);  // the cost of one token is not known yet
  policy.Record(0, 0, 0, 1.0);
  EXPECT_GT(policy.Length(20, 8), 0);
  EXPECT_EQ(policy.Length(20, 1), 1);
  EXPECT_EQ(policy.Length(20, 0), 0);
  Simulate(policy, 100, 0.05, 1.0, 4);
  EXPECT_EQ(policy.Length(20, 100), DraftPolicy::kMostDrafted);
  EXPECT_EQ(policy.Length(20, 3), 3);
}

class LookupTest : public ::testing::Test {
 protected:
  void Load(const TinyModelOptions& options) { model_ = *Model::Load(WriteTinyModel(options)); }
  std::unique_ptr<Session> NewSession(int context, Precision precision = Precision::kFast) const {
    SessionOptions options;
    options.context_length = context;
    options.precision = precision;
    return *Session::Create(model_, nullptr, options);
  }
  static GenerateOptions Options(int count, double temperature, uint64_t seed) {
    GenerateOptions options;
    options.max_tokens = count;
    options.ignore_end = true;
    options.sampling.temperature = temperature;
    options.sampling.seed = seed;
    return options;
  }
  // Generates without lookup, and with every kind of it; expects the same.
  void ExpectNoDifference(GenerateOptions options, const std::vector<TokenId>& prompt, int context,
                          Precision precision = Precision::kFast) {
    options.lookup.draft = 0;
    const auto plain_session = NewSession(context, precision);
    const auto plain = Generate(*plain_session, prompt, options);
    ASSERT_TRUE(plain.ok()) << plain.status();
    EXPECT_EQ(plain->lookup.drafted, 0);
    // What a good memory of this text offers, one of other texts, and one that is always wrong.
    LookupIndex good, wrong;
    std::vector<TokenId> all = prompt;
    all.insert(all.end(), plain->tokens.begin(), plain->tokens.end());
    good.Append(all);
    good.EndText();
    for (const TokenId token : all) wrong.Append(token), wrong.Append(token % 7);
    for (size_t i = 0; i + 3 < all.size(); ++i) {
      wrong.Append(std::span(all).subspan(i, 3));
      wrong.Append((all[i + 3] + 1) % 256);
      wrong.EndText();
    }
    for (const LookupIndex* texts :
         {static_cast<const LookupIndex*>(nullptr), static_cast<const LookupIndex*>(&good),
          static_cast<const LookupIndex*>(&wrong)}) {
      for (const int draft : {LookupOptions::kAuto, 1, 3, 7}) {
        options.lookup = {.draft = draft, .texts = texts};
        const auto session = NewSession(context, precision);
        const auto result = Generate(*session, prompt, options);
        ASSERT_TRUE(result.ok()) << result.status();
        ASSERT_EQ(result->tokens, plain->tokens) << draft;
        EXPECT_EQ(result->text, plain->text);
        EXPECT_EQ(result->stop_reason, plain->stop_reason);
        EXPECT_EQ(result->decoded_tokens, plain->decoded_tokens);
        EXPECT_EQ(session->position(), plain_session->position());
        EXPECT_EQ(result->context_shifts, plain->context_shifts);
        EXPECT_EQ(result->lookup.passes + result->lookup.accepted, result->decoded_tokens);
        EXPECT_LE(result->lookup.accepted, result->lookup.drafted);
        accepted_ += result->lookup.accepted;
        rejected_ += result->lookup.drafted - result->lookup.accepted;
      }
    }
  }

  // Of 60 tokens decoded one by one and by 1, 2, ... 8: how many logits are not the same to the
  // bit.
  int RowsThatDiffer(Precision precision) const {
    const std::vector<TokenId> text = RandomText(60, 280, 3);
    const auto one = NewSession(64, precision), many = NewSession(64, precision);
    int differing = 0;
    for (size_t begin = 0, rows = 1; begin < text.size(); begin += rows, rows = rows % 8 + 1) {
      rows = std::min(rows, text.size() - begin);
      const ConstMatrix logits = *many->Decode(std::span(text).subspan(begin, rows), true);
      for (size_t row = 0; row < rows; ++row) {
        const ConstMatrix alone = *one->Decode(std::span(text).subspan(begin + row, 1), false);
        differing += !std::equal(alone.row(0), alone.row(0) + alone.cols, logits.row(row));
      }
    }
    return differing;
  }

  std::shared_ptr<const Model> model_;
  int accepted_ = 0;
  int rejected_ = 0;
};

TEST_F(LookupTest, ARowDoesNotDependOnWhatIsDecodedWithIt) {
  const Isa before = CurrentIsa();
  for (const Isa isa : AvailableIsas()) {
    ASSERT_TRUE(SetIsa(isa));
    for (const TensorType type :
         {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0, TensorType::kQ4_0}) {
      Load({.architecture = "qwen2", .dim = 128, .ffn = 160, .type = type});
      for (const Precision precision : {Precision::kFast, Precision::kExact}) {
        EXPECT_EQ(RowsThatDiffer(precision), 0)
            << IsaName() << ", " << TraitsOf(type).name << ", "
            << (precision == Precision::kFast ? "fast" : "exact");
      }
    }
  }
  ASSERT_TRUE(SetIsa(before));
}

TEST_F(LookupTest, NeverChangesTheText) {
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0, TensorType::kQ4_0}) {
    Load({.type = type});
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      for (const double temperature : {0.0, 0.4, 1.0}) {
        std::vector<TokenId> prompt = RandomText(12, 250, seed);
        if (seed % 2 == 0) prompt.insert(prompt.end(), prompt.begin(), prompt.end() - 2);
        ExpectNoDifference(Options(60, temperature, seed), prompt, 128);
      }
    }
  }
  // Both happened, or the test says nothing.
  EXPECT_GT(accepted_, 500);
  EXPECT_GT(rejected_, 500);
}

TEST_F(LookupTest, NeverChangesTheTextWithFiltersAndPenalties) {
  Load({.architecture = "qwen2", .type = TensorType::kQ8_0});
  GenerateOptions options = Options(60, 0.8, 5);
  options.sampling.top_k = 20;
  options.sampling.top_p = 0.9;
  options.sampling.repeat_penalty = 1.2;
  options.sampling.frequency_penalty = 0.1;
  ExpectNoDifference(options, RandomText(20, 250, 9), 128);
  options.sampling.temperature = 0;
  ExpectNoDifference(options, RandomText(20, 250, 10), 128, Precision::kExact);
  EXPECT_GT(accepted_, 50);
}

TEST_F(LookupTest, EndsInsideADraftAreEndsAllTheSame) {
  Load({});
  const std::vector<TokenId> prompt = RandomText(12, 250, 2);
  // Where the context is full, a number of tokens or a text is reached at every place of a draft.
  for (int context = 24; context < 48; ++context) {
    ExpectNoDifference(Options(100, 0, 1), prompt, context);
  }
  for (int count = 0; count < 24; ++count) ExpectNoDifference(Options(count, 0, 1), prompt, 64);
  const auto session = NewSession(128);
  GenerateOptions free = Options(80, 0.7, 3);
  const auto whole = Generate(*session, prompt, free);
  ASSERT_TRUE(whole.ok());
  for (size_t at = 0; at + 2 < whole->text.size(); at += 5) {
    free.stop_texts = {whole->text.substr(at, 2)};
    ExpectNoDifference(free, prompt, 128);
  }
  EXPECT_GT(accepted_, 500);
}

TEST_F(LookupTest, TheModelsOwnEndInsideADraft) {
  const TinyModelOptions model_options;
  Load(model_options);
  int ended = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    GenerateOptions options = Options(60, 5.0, seed);
    options.ignore_end = false;
    const std::vector<TokenId> prompt = RandomText(12, 250, seed);
    const auto session = NewSession(128);
    const auto plain = Generate(*session, prompt, options);
    ASSERT_TRUE(plain.ok());
    if (plain->stop_reason != StopReason::kEndOfGeneration) continue;
    ++ended;
    ExpectNoDifference(options, prompt, 128);
    // A memory that knows the end of the text and something after it.
    LookupIndex texts;
    texts.Append(prompt);
    texts.Append(plain->tokens);
    texts.Append(TinyModelEos(model_options));
    texts.Append(RandomText(10, 250, seed));
    options.lookup = {.draft = 6, .texts = &texts};
    const auto again = NewSession(128);
    const auto result = Generate(*again, prompt, options);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->tokens, plain->tokens);
    EXPECT_EQ(result->stop_reason, StopReason::kEndOfGeneration);
    EXPECT_EQ(again->position(), session->position());
  }
  EXPECT_GT(ended, 5);
}

TEST_F(LookupTest, ASessionGoesOnAsIfNothingHadBeenDrafted) {
  Load({.type = TensorType::kQ8_0});
  GenerateOptions options = Options(30, 0, 1);
  const std::vector<TokenId> prompt = RandomText(12, 250, 2), more = RandomText(5, 250, 3);
  options.lookup.draft = 0;
  const auto a = NewSession(128), b = NewSession(128);
  ASSERT_TRUE(Generate(*a, prompt, options).ok());
  options.lookup.draft = 7;
  ASSERT_TRUE(Generate(*b, prompt, options).ok());
  EXPECT_TRUE(std::ranges::equal(a->tokens(), b->tokens()));
  const auto first = Generate(*a, more, options), second = Generate(*b, more, options);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->tokens, second->tokens);
}

TEST_F(LookupTest, ShiftedContextsToo) {
  Load({});
  for (const int keep : {0, 4, 20}) {
    GenerateOptions options = Options(100, 0.5, 7);
    options.context_shift = true;
    options.keep = keep;
    ExpectNoDifference(options, RandomText(12, 250, 2), 40);
  }
  EXPECT_GT(accepted_, 100);
}

TEST_F(LookupTest, DraftsWhatRepeatsAndReportsIt) {
  Load({.type = TensorType::kQ8_0});
  GenerateOptions options = Options(60, 0, 1);
  const std::vector<TokenId> prompt = RandomText(12, 250, 2);
  options.lookup.draft = 0;
  const auto plain = Generate(*NewSession(256), prompt, options);
  ASSERT_TRUE(plain.ok());
  // Everything that comes is known: most passes yield eight tokens.
  LookupIndex texts;
  texts.Append(prompt);
  texts.Append(plain->tokens);
  texts.EndText();
  options.lookup = {.draft = 7, .texts = &texts};
  const auto result = Generate(*NewSession(256), prompt, options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->tokens, plain->tokens);
  EXPECT_LE(result->lookup.passes, 16);
  EXPECT_EQ(result->lookup.passes + result->lookup.accepted, 59);
  options.lookup.draft = 8;
  EXPECT_FALSE(Generate(*NewSession(256), prompt, options).ok());
}

}  // namespace
}  // namespace lorikeet
