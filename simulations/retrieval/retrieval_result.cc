#include "simulations/retrieval/retrieval_result.h"

#include <algorithm>
#include <cmath>

#include "common/base/random.h"

namespace lorikeet {
namespace {

constexpr int kBootstraps = 2000;
constexpr int kExpectationRounds = 40;
constexpr double kLeastProbability = 1e-12;

double NatsOf(const Way& way, const ScoredToken& token) {
  return -std::log(std::max(ProbabilityUnder(way, token), kLeastProbability));
}

// Mean gain over the plain model with a bare prompt, nats a token.
double GainOf(const Way& way, const ScoredText& text) {
  double gain = 0;
  for (const ScoredToken& token : text) gain += NatsOf({}, token) - NatsOf(way, token);
  return text.empty() ? 0 : gain / static_cast<double>(text.size());
}

double RatioOf(std::span<const UserFigures> users, std::span<const size_t> drawn, Measure measure) {
  double above = 0, below = 0;
  for (const size_t i : drawn) {
    const UserFigures& user = users[i];
    switch (measure) {
      case Measure::kLoss:
        above += user.nats, below += user.tokens;
        break;
      case Measure::kFactLoss:
        above += user.fact_nats, below += user.fact_tokens;
        break;
      case Measure::kRecallFirst:
        above += user.first, below += user.questions;
        break;
      case Measure::kReciprocalRank:
        above += user.reciprocal_rank, below += user.questions;
        break;
    }
  }
  return below > 0 ? above / below : 0;
}

template <typename Statistic>
Interval Bootstrap(size_t users, uint64_t seed, const Statistic& statistic) {
  std::vector<size_t> drawn(users);
  for (size_t i = 0; i < users; ++i) drawn[i] = i;
  Interval result{.mean = statistic(drawn)};
  Rng rng(seed);
  std::vector<double> values;
  for (int b = 0; b < kBootstraps; ++b) {
    for (size_t& i : drawn) i = rng.Below(users);
    values.push_back(statistic(drawn));
  }
  std::ranges::sort(values);
  result.low = values[kBootstraps / 40];
  result.high = values[kBootstraps - 1 - kBootstraps / 40];
  return result;
}

// What the weights are responsible for: by order, and that order or any below it.
struct Responsibility {
  std::array<double, kCopyOrders> own = {}, below = {};
};

void AddResponsibility(const ScoredToken& token, const Way& way, Responsibility* sums) {
  const CopyShares& shares = token.copy[static_cast<int>(*way.copy)];
  std::array<double, kCopyOrders> part = {};
  double model = ProbabilityUnder({.adapter = way.adapter, .prompt = way.prompt}, token);
  for (int k = 0; k < kCopyOrders; ++k) {
    if (shares[k] < 0) continue;
    model *= 1 - way.weights[k];
    for (int j = 0; j < k; ++j) part[j] *= 1 - way.weights[k];
    part[k] = way.weights[k] * shares[k];
  }
  double total = model;
  for (const double value : part) total += value;
  double below = model / total;
  for (int k = 0; k < kCopyOrders; ++k) {
    if (shares[k] < 0) continue;
    sums->own[k] += part[k] / total;
    sums->below[k] += below;
    below += part[k] / total;
  }
}

}  // namespace

double ProbabilityUnder(const Way& way, const ScoredToken& token) {
  const double model = token.model[static_cast<int>(way.adapter)][static_cast<int>(way.prompt)];
  if (!way.copy) return model;
  return MixedProbability(model, token.copy[static_cast<int>(*way.copy)], way.weights);
}

CopyWeights FitWeights(std::span<const ScoredUser> users, const Way& way) {
  Way fitted = way;
  fitted.weights.fill(0.05);
  for (int round = 0; round < kExpectationRounds; ++round) {
    Responsibility sums;
    for (const ScoredUser& user : users) {
      for (const ScoredText& text : user.texts) {
        for (const ScoredToken& token : text) AddResponsibility(token, fitted, &sums);
      }
    }
    for (int k = 0; k < kCopyOrders; ++k) {
      const double all = sums.own[k] + sums.below[k];
      fitted.weights[k] = all > 0 ? sums.own[k] / all : 0;
    }
  }
  return fitted.weights;
}

UserFigures FiguresOf(const ScoredUser& user, const Way& way) {
  UserFigures figures;
  for (const ScoredText& text : user.texts) {
    for (const ScoredToken& token : text) {
      const double nats = NatsOf(way, token);
      figures.nats += nats;
      figures.tokens += 1;
      figures.fact_nats += token.fact ? nats : 0;
      figures.fact_tokens += token.fact ? 1 : 0;
    }
  }
  for (const ScoredQuestion& question : user.questions) {
    const double truth = GainOf(way, question.sentences[0]);
    double better = 0, equal = 1;
    for (size_t i = 1; i < question.sentences.size(); ++i) {
      const double gain = GainOf(way, question.sentences[i]);
      better += gain > truth ? 1 : 0;
      equal += gain == truth ? 1 : 0;
    }
    figures.first += better == 0 ? 1 / equal : 0;
    figures.reciprocal_rank += 1 / (better + (equal + 1) / 2);
    figures.questions += 1;
  }
  return figures;
}

Interval MeasureOf(std::span<const UserFigures> users, Measure measure, uint64_t seed) {
  return Bootstrap(users.size(), seed,
                   [&](std::span<const size_t> drawn) { return RatioOf(users, drawn, measure); });
}

Interval DifferenceOf(std::span<const UserFigures> a, std::span<const UserFigures> b,
                      Measure measure, uint64_t seed) {
  return Bootstrap(a.size(), seed, [&](std::span<const size_t> drawn) {
    return RatioOf(b, drawn, measure) - RatioOf(a, drawn, measure);
  });
}

namespace {

std::vector<Way> WaysOf(std::span<const ScoredUser> fitted,
                        const RetrievalExperimentOptions& options) {
  const auto copying = [](std::string name, AdapterUse adapter, PromptUse prompt) {
    return Way{std::move(name), adapter, prompt, CopySource::kVault, kCopyWeights};
  };
  const auto fit = [&](Way way) {
    way.weights = FitWeights(fitted, way);
    return way;
  };
  constexpr AdapterUse kNone = AdapterUse::kNone, kPlain = AdapterUse::kPlain;
  constexpr PromptUse kBare = PromptUse::kBare, kPassages = PromptUse::kPassages;
  std::vector<Way> ways = {{"none", kNone, kBare}, copying("retrieval", kNone, kPassages)};
  if (options.plain_adapter) {
    ways.push_back({"adapter", kPlain, kBare});
    ways.push_back(copying("both", kPlain, kPassages));
  }
  ways.push_back({"passages in the prompt alone", kNone, kPassages});
  ways.push_back(copying("copies of the vault alone", kNone, kBare));
  ways.push_back(fit(
      {"copies of the passages alone, weights fitted here", kNone, kBare, CopySource::kPassages}));
  ways.push_back(fit({"retrieval, weights fitted here", kNone, kPassages, CopySource::kVault}));
  if (options.plain_adapter) {
    ways.push_back({"adapter, passages in the prompt", kPlain, kPassages});
    ways.push_back(copying("adapter, copies of the vault", kPlain, kBare));
    ways.push_back(fit({"both, weights fitted here", kPlain, kPassages, CopySource::kVault}));
  }
  if (options.reading_adapter) {
    ways.push_back({"adapter that learned with passages", AdapterUse::kReading, kBare});
    ways.push_back(
        {"adapter that learned with passages, passages", AdapterUse::kReading, kPassages});
    ways.push_back(
        copying("adapter that learned with passages, both", AdapterUse::kReading, kPassages));
  }
  return ways;
}

}  // namespace

RetrievalSummary Summarize(std::span<const ScoredUser> users,
                           const RetrievalExperimentOptions& options, uint64_t seed) {
  std::vector<ScoredUser> fitted, reported;
  for (size_t i = 0; i < users.size(); ++i) {
    (i % 3 == 0 ? fitted : reported).push_back(users[i]);
  }
  RetrievalSummary summary;
  summary.users = static_cast<int>(reported.size());
  summary.fitted_users = static_cast<int>(fitted.size());
  std::vector<std::vector<UserFigures>> figures;
  for (const Way& way : WaysOf(fitted, options)) {
    std::vector<UserFigures>& mine = figures.emplace_back();
    for (const ScoredUser& user : reported) mine.push_back(FiguresOf(user, way));
    summary.ways.push_back(
        {.way = way,
         .loss = MeasureOf(mine, Measure::kLoss, seed),
         .fact_loss = MeasureOf(mine, Measure::kFactLoss, seed),
         .recall_first = MeasureOf(mine, Measure::kRecallFirst, seed),
         .reciprocal_rank = MeasureOf(mine, Measure::kReciprocalRank, seed),
         .loss_change = DifferenceOf(figures[0], mine, Measure::kLoss, seed),
         .fact_loss_change = DifferenceOf(figures[0], mine, Measure::kFactLoss, seed)});
  }
  for (const size_t other : {1, 2}) {
    if (!options.plain_adapter) break;
    summary.comparisons.push_back(
        {.with = summary.ways[other].way.name,
         .loss = DifferenceOf(figures[other], figures[3], Measure::kLoss, seed),
         .fact_loss = DifferenceOf(figures[other], figures[3], Measure::kFactLoss, seed),
         .recall_first = DifferenceOf(figures[other], figures[3], Measure::kRecallFirst, seed)});
  }
  for (const UserFigures& user : figures[0]) {
    summary.tokens += user.tokens;
    summary.fact_tokens += user.fact_tokens;
    summary.questions += user.questions;
  }
  double all_texts = 0;
  for (const ScoredUser& user : users) {
    all_texts += static_cast<double>(user.texts.size());
    summary.passages += user.passages;
    summary.passage_tokens += static_cast<double>(user.passage_tokens);
    summary.vault_bytes += static_cast<double>(user.vault_bytes);
  }
  for (const ScoredUser& user : reported) summary.texts += static_cast<double>(user.texts.size());
  summary.passages /= std::max(all_texts, 1.0);
  summary.passage_tokens /= std::max(all_texts, 1.0);
  summary.vault_bytes /= static_cast<double>(users.size());
  return summary;
}

}  // namespace lorikeet
