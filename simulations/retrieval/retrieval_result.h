// From token probabilities to what is reported: losses, recall of facts, and intervals over users.
//
// Users are the sampling unit: differences between two ways are taken user by user, and intervals
// are percentiles of 2,000 bootstrap samples of users.  Mixture weights are fitted by expectation
// maximization on other users than those reported.
#ifndef LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_RESULT_H_
#define LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_RESULT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "simulations/retrieval/retrieval_experiment.h"

namespace lorikeet {

// A way of using the vault.
struct Way {
  std::string name = {};
  AdapterUse adapter = AdapterUse::kNone;
  PromptUse prompt = PromptUse::kBare;
  std::optional<CopySource> copy = std::nullopt;
  CopyWeights weights = {};
};

double ProbabilityUnder(const Way& way, const ScoredToken& token);

// The weights that make the users' held-out texts likeliest under `way`.
CopyWeights FitWeights(std::span<const ScoredUser> users, const Way& way);

// Sums of one user under one way.
struct UserFigures {
  double nats = 0, tokens = 0;            // held-out texts
  double fact_nats = 0, fact_tokens = 0;  // tokens of fact words
  // Questions whose true sentence gains most over the plain model with a bare prompt, in nats a
  // token, of all candidates (a tie of n counts 1 / n); and sums of 1 / rank.
  double first = 0, reciprocal_rank = 0, questions = 0;
};
UserFigures FiguresOf(const ScoredUser& user, const Way& way);

enum class Measure { kLoss, kFactLoss, kRecallFirst, kReciprocalRank };

struct Interval {
  double mean = 0, low = 0, high = 0;  // 95 %
};
// The measure of all users together.
Interval MeasureOf(std::span<const UserFigures> users, Measure measure, uint64_t seed);
// That of `b` minus that of `a`, the same users drawn for both.
Interval DifferenceOf(std::span<const UserFigures> a, std::span<const UserFigures> b,
                      Measure measure, uint64_t seed);

// What the reported users say about one way.
struct WayResult {
  Way way;
  Interval loss, fact_loss, recall_first, reciprocal_rank;
  Interval loss_change;       // from the first way's
  Interval fact_loss_change;  // likewise
};

// Everything reported of one set of people.
struct RetrievalSummary {
  // The four of the target first ("none", "retrieval", "adapter", "both"), then parts of them.
  std::vector<WayResult> ways;
  // "both" minus "retrieval" and minus "adapter", in this order.
  struct Comparison {
    std::string with;
    Interval loss, fact_loss, recall_first;
  };
  std::vector<Comparison> comparisons;  // of "both"
  int users = 0;                        // reported
  int fitted_users = 0;  // the others, on which the weights of "fitted" ways were chosen
  double texts = 0, tokens = 0, fact_tokens = 0, questions = 0;  // of reported users
  double passages = 0, passage_tokens = 0;                       // a text, of all users
  double vault_bytes = 0;                                        // a user
};

// REQUIRES: at least 4 users.  Every third user is for fitting.
RetrievalSummary Summarize(std::span<const ScoredUser> users,
                           const RetrievalExperimentOptions& options, uint64_t seed);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_RESULT_H_
