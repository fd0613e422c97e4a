// Keep or roll back: what the losses of held-out documents allow to say, and how sure it is.
//
// The test is a sign-flip (permutation) test of the paired differences, one sided: if the new
// adapter were no better than the old, each document's difference could as well have had the other
// sign, so the chance of luck is the share of all 2^n sign patterns whose summed gain is as large
// as the one seen.  It suits a person's few passages of unequal length: long passages weigh by
// their tokens as they do in the loss, no equal variances or normal sums are assumed, and with n
// documents it never claims less than 2^-n, where a t-test on three near-equal differences claims
// anything.  What it assumes is a symmetric difference under no gain.  Neighbours in a text
// resemble each other, so more than kMostUnits documents are first joined, in order, into that many
// runs of about equal length; sums of many documents are also nearly symmetric.  Measured on
// simulated differences (judge_test.cc).  Sources: Fisher 1935; Good, Permutation Tests, ch. 3.
//
// Not here: measuring (loss_meter.h), what is done with the verdict (personalizer.h).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_JUDGE_H_
#define LORIKEET_DEVICE_PERSONALIZATION_JUDGE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/personalization/loss_meter.h"

namespace lorikeet {

// Names of sides.
inline constexpr std::string_view kBaseSide = "base";
inline constexpr std::string_view kPersonaSide = "persona";
inline constexpr std::string_view kPersonalizedSide = "personalized";
inline constexpr std::string_view kInUseSide = "in use";

struct JudgedSide {
  std::string name;
  std::vector<DocumentLoss> losses;  // of the same documents on every side
};
// Null: there is none.
const JudgedSide* FindSide(std::span<const JudgedSide> sides, std::string_view name);

enum class Outcome {
  kKept,         // the newly trained adapter is best
  kPersonaOnly,  // training did not help, the bare persona does
  kRolledBack,   // what was there (the adapter in use, or the base) stays
};

struct JudgeOptions {
  double level = 0.05;      // chance of luck above which a gain does not count
  double min_gain = 0.002;  // nats a token: less is not worth a change
  // Too few documents for any test at `level` (fewer than log2(1 / level)): at least
  // `fewest_documents`, each of them better, and better by this in nats a token.
  double cautious_gain = 0.05;
  size_t fewest_documents = 3;
};

// How much better one side is than another.
struct Comparison {
  std::string side, against;
  PairedGain gain;
  double percent = 0;  // by which the loss is lower; negative: higher
  double p_value = 1;  // chance of a gain like this if there is none
  bool wins = false;   // by the options
};

struct Verdict {
  Outcome outcome = Outcome::kRolledBack;
  std::string words;               // what was compared, by how much, how sure, what happens now
  double p_value = 1;              // of the change that is made, against its strongest rival
  bool tested = false;             // false: too few documents
  int64_t documents = 0;           // with a token to predict
  int64_t tokens = 0;              // of each side
  std::vector<Comparison> proofs;  // all that decided, the strongest rival of each side first
};

// Documents, joined, that the test looks at, at most.
inline constexpr size_t kMostUnits = 14;

// Chance of luck of `b` being better than `a`: see above.  1 for no documents.  Deterministic.
// REQUIRES: same documents in the same order.
double ChanceOfLuck(std::span<const DocumentLoss> a, std::span<const DocumentLoss> b);

Comparison CompareSides(const JudgedSide& side, const JudgedSide& against,
                        const JudgeOptions& options);

// The personalized side is kept if it wins against all others; else the persona if it wins against
// base and the one in use; else what was there stays.  Each must win against every rival, so the
// chance to keep one that is no better than some rival is at most `level`.
// REQUIRES: sides "base" and "personalized"; "persona" and "in use" may be missing.
Verdict Judge(std::span<const JudgedSide> sides, const JudgeOptions& options = {});

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_JUDGE_H_
