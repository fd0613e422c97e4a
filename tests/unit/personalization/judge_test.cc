#include "device/personalization/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "common/base/random.h"

namespace lorikeet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// `tokens` of 4 nats each.
std::vector<DocumentLoss> Losses(std::span<const int64_t> tokens) {
  std::vector<DocumentLoss> losses;
  for (const int64_t count : tokens) {
    losses.push_back({.nats = 4.0 * static_cast<double>(count), .tokens = count});
  }
  return losses;
}

// The same with a gain in nats for each document.
std::vector<DocumentLoss> Better(std::vector<DocumentLoss> losses, std::span<const double> gains) {
  for (size_t i = 0; i < losses.size(); ++i) losses[i].nats -= gains[i];
  return losses;
}

double Normal(Rng& rng) {
  return std::sqrt(-2 * std::log(1 - rng.Uniform())) * std::cos(2 * M_PI * rng.Uniform());
}

// Unequal lengths: about 5 to 200 tokens.
std::vector<int64_t> Lengths(Rng& rng, size_t count) {
  std::vector<int64_t> tokens(count);
  for (int64_t& length : tokens) {
    length = 2 + static_cast<int64_t>(std::exp(3.3 + 0.8 * Normal(rng)));
  }
  return tokens;
}

TEST(ChanceOfLuckTest, CountsSignPatterns) {
  const std::vector<int64_t> tokens = {5, 5, 5, 5};
  const auto a = Losses(tokens);
  const auto chance = [&](std::vector<double> gains) { return ChanceOfLuck(a, Better(a, gains)); };
  EXPECT_EQ(chance({1, 2, 3, 4}), 1.0 / 16);   // only the pattern itself
  EXPECT_EQ(chance({-1, 2, 3, 4}), 2.0 / 16);  // sum 8: also with +1
  EXPECT_EQ(chance({-1, -2, -3, -4}), 1);
  EXPECT_EQ(chance({0, 0, 0, 0}), 1);
  EXPECT_EQ(chance({1, 1, 1, -1}), 5.0 / 16);  // ties count
  EXPECT_EQ(ChanceOfLuck({}, {}), 1);
  // A document without tokens is no evidence.
  std::vector<DocumentLoss> with_empty = a;
  with_empty.push_back({});
  const double gains[] = {1, 2, 3, 4, 0};
  EXPECT_EQ(ChanceOfLuck(with_empty, Better(with_empty, gains)), 1.0 / 16);
}

TEST(ChanceOfLuckTest, ManyDocumentsAreJoinedInOrder) {
  const std::vector<int64_t> tokens(4 * kMostUnits, 10);
  const auto a = Losses(tokens);
  std::vector<double> gains(tokens.size(), 1.0);
  EXPECT_EQ(ChanceOfLuck(a, Better(a, gains)), std::pow(2.0, -static_cast<double>(kMostUnits)));
  // Better and worse in turn: every run of four sums to nothing.
  for (size_t i = 0; i < gains.size(); i += 2) gains[i] = -1;
  EXPECT_EQ(ChanceOfLuck(a, Better(a, gains)), 1);
}

// Differences under no gain, document by document.
using Noise = std::function<std::vector<double>(Rng&, std::span<const int64_t>)>;

std::vector<double> HeavyTailed(Rng& rng, std::span<const int64_t> tokens) {
  std::vector<double> noise;
  for (const int64_t count : tokens) {
    // Spread with the root of the length; Student's t with 3 degrees of freedom.
    const double chi = std::hypot(Normal(rng), Normal(rng), Normal(rng)) / std::sqrt(3.0);
    noise.push_back(0.5 * std::sqrt(static_cast<double>(count)) * Normal(rng) / chi);
  }
  return noise;
}

std::vector<double> Neighbourly(Rng& rng, std::span<const int64_t> tokens) {
  std::vector<double> noise = HeavyTailed(rng, tokens);
  for (size_t i = 1; i < noise.size(); ++i) noise[i] += 0.3 * noise[i - 1];
  return noise;
}

std::vector<double> Skewed(Rng& rng, std::span<const int64_t> tokens) {
  std::vector<double> noise;
  for (const int64_t count : tokens) {
    noise.push_back(0.5 * std::sqrt(static_cast<double>(count)) *
                    (-std::log(1 - rng.Uniform()) - 1));
  }
  return noise;
}

// Share of trials without any true gain in which the new adapter is kept.
double FalseKeeps(size_t documents, const Noise& noise, int trials) {
  Rng rng(documents);
  int kept = 0;
  for (int i = 0; i < trials; ++i) {
    const std::vector<int64_t> tokens = Lengths(rng, documents);
    const auto base = Losses(tokens);
    const std::vector<JudgedSide> sides = {
        {.name = "base", .losses = base},
        {.name = "personalized", .losses = Better(base, noise(rng, tokens))}};
    kept += Judge(sides).outcome == Outcome::kKept;
  }
  return static_cast<double>(kept) / trials;
}

// A count of a rate `level` in `trials` stays within this with a chance of 1 - 1e-8.
double Slack(double level, int trials) { return 5.8 * std::sqrt(level * (1 - level) / trials); }

TEST(JudgeTest, KeepsNoiseAtTheStatedRate) {
  constexpr int kTrials = 2000;
  for (const size_t documents : {3, 4, 5, 8, 12, 16, 40, 150}) {
    SCOPED_TRACE(documents);
    const double rate = FalseKeeps(documents, HeavyTailed, documents > 10 ? kTrials : 4 * kTrials);
    const double slack = Slack(0.05, documents > 10 ? kTrials : 4 * kTrials);
    if (documents < 5) {
      // No test: every document better, by much.
      EXPECT_LE(rate, std::pow(2.0, -static_cast<double>(documents)) + slack);
    } else {
      EXPECT_LE(rate, 0.05 + slack);
      EXPECT_GE(rate, documents == 5 ? 0.03 - slack : 0.04 - slack);  // nor idle
    }
  }
}

TEST(JudgeTest, KeepsNoiseOfUnfriendlyKindsNotMuchMoreOften) {
  constexpr int kTrials = 2000;
  // Neighbours that resemble each other.
  EXPECT_LE(FalseKeeps(100, Neighbourly, kTrials), 0.06 + Slack(0.06, kTrials));
  // Few large gains against many small losses.
  EXPECT_LE(FalseKeeps(8, Skewed, kTrials), 0.06 + Slack(0.06, kTrials));
  EXPECT_LE(FalseKeeps(100, Skewed, kTrials), 0.06 + Slack(0.06, kTrials));
}

TEST(JudgeTest, NobodyEndsWorseThanNoise) {
  // True gains of all sizes, more of them bad than good; what is kept helps in the mean, and what
  // truly harms is kept no more often than the level says.
  Rng rng(7);
  int harmed = 0, kept = 0, good = 0, good_kept = 0;
  double total = 0;
  constexpr int kTrials = 2000;
  for (int i = 0; i < kTrials; ++i) {
    const std::vector<int64_t> tokens = Lengths(rng, 12);
    const double truth = 0.2 * Normal(rng) - 0.05;  // nats a token, against base and persona
    const auto base = Losses(tokens);
    std::vector<double> gains = HeavyTailed(rng, tokens), persona = HeavyTailed(rng, tokens);
    for (size_t j = 0; j < tokens.size(); ++j) {
      gains[j] += truth * static_cast<double>(tokens[j]);
    }
    const Verdict verdict =
        Judge(std::vector<JudgedSide>{{.name = "base", .losses = base},
                                      {.name = "persona", .losses = Better(base, persona)},
                                      {.name = "personalized", .losses = Better(base, gains)}});
    good += truth > 0.2;
    if (verdict.outcome != Outcome::kKept) continue;
    ++kept;
    total += truth;
    harmed += truth < 0;
    good_kept += truth > 0.2;
  }
  EXPECT_GT(total / kept, 0.1);
  EXPECT_LE(harmed, 0.05 * kTrials + kTrials * Slack(0.05, kTrials));
  EXPECT_GT(good_kept, good / 2);
}

// Twelve passages; `gain` nats a token better, a little more or less in turn.
JudgedSide Side(std::string_view name, double gain, size_t documents = 12) {
  std::vector<int64_t> tokens;
  std::vector<double> gains;
  for (size_t i = 0; i < documents; ++i) {
    tokens.push_back(140 + static_cast<int64_t>(i % 4) * 20);
    gains.push_back((gain + (i % 2 == 0 ? 0.02 : -0.02)) * static_cast<double>(tokens.back()));
  }
  return {.name = std::string(name), .losses = Better(Losses(tokens), gains)};
}

TEST(JudgeTest, SaysWhatWasKeptAndHowSure) {
  const Verdict verdict = Judge(
      std::vector<JudgedSide>{Side("base", 0), Side("persona", 0.2), Side("personalized", 0.44)});
  EXPECT_EQ(verdict.outcome, Outcome::kKept);
  EXPECT_EQ(verdict.words,
            "kept: on 12 held-out passages (2,040 tokens) your adapter predicts you 6.3% better "
            "than the persona alone and 11% better than the plain model; chance that this is luck: "
            "less than 0.05%");
  EXPECT_TRUE(verdict.tested);
  EXPECT_EQ(verdict.documents, 12);
  EXPECT_EQ(verdict.tokens, 2040);
  ASSERT_EQ(verdict.proofs.size(), 3u);  // two of the adapter, one of the persona
  EXPECT_EQ(verdict.proofs[0].against, "persona");
  EXPECT_NEAR(verdict.proofs[0].gain.gain, 0.24, 0.01);
  EXPECT_EQ(verdict.p_value, verdict.proofs[0].p_value);
}

TEST(JudgeTest, ThePersonaStaysWhereTrainingDoesNotHelp) {
  for (const double gain : {0.2, 0.1, 0.205}) {
    const Verdict verdict = Judge(
        std::vector<JudgedSide>{Side("base", 0), Side("persona", 0.2), Side("personalized", gain)});
    EXPECT_EQ(verdict.outcome, gain == 0.205 ? Outcome::kKept : Outcome::kPersonaOnly) << gain;
    if (gain != 0.205) {
      EXPECT_THAT(verdict.words, AllOf(StartsWith("persona only: on 12 held-out passages"),
                                       HasSubstr("the persona alone predicts you 5.0% better than "
                                                 "the plain model; chance that this is luck")));
    }
  }
}

TEST(JudgeTest, WhatWasThereStaysUntilSomethingSurelyBeatsIt) {
  // Better than the base, not than what is in use.
  const Verdict in_use = Judge(std::vector<JudgedSide>{
      Side("base", 0), Side("persona", 0.2), Side("personalized", 0.3), Side("in use", 0.4)});
  EXPECT_EQ(in_use.outcome, Outcome::kRolledBack);
  EXPECT_THAT(in_use.words,
              AllOf(StartsWith("rolled back: "), HasSubstr("the adapter in use stays"),
                    HasSubstr("2.8% worse than the adapter in use")));
  // A gain within the noise, against the base.
  JudgedSide noisy = Side("personalized", 0);
  for (size_t i = 0; i < noisy.losses.size(); ++i) {
    noisy.losses[i].nats += i % 2 == 0 ? 100 : -120;
  }
  const Verdict noise = Judge(std::vector<JudgedSide>{Side("base", 0), noisy});
  EXPECT_EQ(noise.outcome, Outcome::kRolledBack);
  EXPECT_THAT(noise.words, AllOf(HasSubstr("within the noise: the chance that this is luck is"),
                                 HasSubstr("the plain model stays"), Not(HasSubstr("persona"))));
  // Sure, but tiny.
  JudgedSide tiny = Side("personalized", 0);
  for (DocumentLoss& loss : tiny.losses) loss.nats -= 0.001 * static_cast<double>(loss.tokens);
  EXPECT_EQ(Judge(std::vector<JudgedSide>{Side("base", 0), tiny}).outcome, Outcome::kRolledBack);
  // Only the last rival decides: beats base and persona, and the one in use.
  EXPECT_EQ(Judge(std::vector<JudgedSide>{Side("base", 0), Side("persona", 0.2),
                                          Side("personalized", 0.5), Side("in use", 0.4)})
                .outcome,
            Outcome::kKept);
}

TEST(JudgeTest, FewPassagesNeedMuchMore) {
  const auto judge = [](double gain, size_t documents) {
    return Judge(
        std::vector<JudgedSide>{Side("base", 0, documents), Side("personalized", gain, documents)});
  };
  const Verdict much = judge(0.5, 3);
  EXPECT_EQ(much.outcome, Outcome::kKept);
  EXPECT_FALSE(much.tested);
  EXPECT_THAT(much.words, HasSubstr("too few passages to say how sure this is, but each of the 3"));
  const Verdict little = judge(0.04, 3);
  EXPECT_EQ(little.outcome, Outcome::kRolledBack);
  EXPECT_THAT(little.words, HasSubstr("3 passages are too few for a test"));
  EXPECT_EQ(judge(0.01, 4).outcome, Outcome::kRolledBack);  // one of them is worse
  const Verdict two = judge(0.5, 2);
  EXPECT_EQ(two.outcome, Outcome::kRolledBack);
  EXPECT_THAT(two.words, HasSubstr("2 passages are too few for a test"));
  EXPECT_THAT(judge(0.5, 1).words, HasSubstr("on 1 held-out passage ("));
  EXPECT_EQ(judge(0.5, 0).outcome, Outcome::kRolledBack);
}

}  // namespace
}  // namespace lorikeet
