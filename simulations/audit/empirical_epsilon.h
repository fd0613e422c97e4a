// Lower bounds on epsilon from an attacker's success, and the binomial tails they need.
//
// A bound here says: a mechanism with a smaller epsilon at this delta would have let the attacker
// do so well with probability of at most 1 - confidence.  It says nothing about how much larger
// the true epsilon is.
#ifndef LORIKEET_SIMULATIONS_AUDIT_EMPIRICAL_EPSILON_H_
#define LORIKEET_SIMULATIONS_AUDIT_EMPIRICAL_EPSILON_H_

#include <cstdint>
#include <span>

namespace lorikeet {

// P(X >= k) for X ~ Binomial(n, p).  REQUIRES: n >= 0, p in [0, 1].
double BinomialUpperTail(int64_t n, double p, int64_t k);
// The largest p for which at most k of n successes still have probability >= 1 - confidence
// (Clopper and Pearson 1934).  1 when k = n.
double ClopperPearsonUpper(int64_t n, int64_t k, double confidence);

// The guesses of one run about many independent canaries, each of which took part by the toss of a
// fair coin.
struct OneRunGuesses {
  int64_t canaries = 0;  // m
  int64_t guesses = 0;   // r; about the other canaries the attacker said nothing
  int64_t correct = 0;   // v
};
// How likely at most an (epsilon, delta) mechanism makes so many correct guesses (Steinke, Nasr and
// Jagielski, arXiv 2305.08846, theorem 5.2).  REQUIRES: correct <= guesses <= canaries.
double OneRunPValue(const OneRunGuesses& guesses, double epsilon, double delta);
// The largest epsilon that this rejects; 0 when none.
double OneRunEpsilon(const OneRunGuesses& guesses, double delta, double confidence);

// Scores of one canary in independent runs without and with it: larger means "it was there".
struct RepeatedScores {
  std::span<const double> without;
  std::span<const double> with;
};
struct RepeatedBound {
  double epsilon = 0;           // of any mechanism
  double gaussian_epsilon = 0;  // if its errors trade off as those of Gaussian noise do
  double separation = 0;  // mu of that Gaussian (Dong, Roth and Su, arXiv 1905.02383), at least
};
// Thresholds must have been chosen without looking at the scores; the confidence is shared among
// them.  Both errors are bounded by Clopper and Pearson; epsilon follows from the definition of
// privacy, gaussian_epsilon from the exact Gaussian mechanism of that separation (Nasr et al.,
// arXiv 2302.07956), which is far tighter.
RepeatedBound RepeatedEpsilon(const RepeatedScores& scores, std::span<const double> thresholds,
                              double delta, double confidence);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_AUDIT_EMPIRICAL_EPSILON_H_
