// How many tokens to draft: as many as are worth their time, by what was measured in this very
// generation.
//
// A pass over T tokens costs more than one over a single token, how much more depends on machine,
// model and depth; a draft is accepted more often the longer the copy that it continues.  Both are
// estimated as they come in, and estimates that nothing confirms are slowly forgotten.  A balance
// of time bounds what drafting can lose where nothing repeats: one try and 1 % of all passes.
#ifndef LORIKEET_DEVICE_RUNTIME_DRAFT_POLICY_H_
#define LORIKEET_DEVICE_RUNTIME_DRAFT_POLICY_H_

#include <array>

namespace lorikeet {

// Not thread-safe.
class DraftPolicy {
 public:
  // With the certain one eight: the rows that the kernels give the same numbers together and one by
  // one.
  static constexpr int kMostDrafted = 7;

  DraftPolicy();

  // Tokens to draft, at most `limit`, after a copy of `match_length` tokens; 0: none.
  int Length(int match_length, int limit) const;

  // One pass: `drafted` tokens beside the one that is certain, of which the first `accepted` were
  // right, took `seconds`.  match_length as it was given to Length (any where drafted = 0).
  void Record(int match_length, int drafted, int accepted, double seconds);

 private:
  // Matches of about the same worth: of 2, 3, 4 to 5, 6 to 11, more tokens.
  static constexpr int kClasses = 5;
  static int ClassOf(int match_length);
  // Seconds of a pass over `rows` tokens, relative to one token.
  double CostOf(int rows) const;

  struct Acceptance {
    double right, wrong;
  };
  struct Timing {
    double seconds = 0;  // a running mean
    int passes = 0;
  };
  std::array<Acceptance, kClasses> acceptance_;
  std::array<Timing, kMostDrafted + 2> timings_;  // [tokens of a pass]
  int longest_measured_ = 0;                      // tokens of a pass
  double balance_ = 0.5;                          // passes over one token that may be lost
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_DRAFT_POLICY_H_
