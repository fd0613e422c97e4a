// From trials to what was saved, by similarity.
//
// The target of a trial is the best held-out loss of scratch; scratch is
// charged up to the point where it is met, the warm start up to its first point
// at or below it, plus selection.  Processor time is tokens times the median
// seconds a token of the side over all trials, which noise of a shared machine
// moves less than a stopwatch; selection is its own time.  "Training" counts
// steps alone; "everything" is the time of the whole training, with searches of
// strengths, evaluations and rehearsal.
//
// A warm start that never gets there within the recipe has spent its whole
// training and then pays for scratch as well: 1 - (selection + warm + scratch)
// / scratch.
#ifndef LORIKEET_SIMULATIONS_PEOPLE_WARM_START_ANALYSIS_H_
#define LORIKEET_SIMULATIONS_PEOPLE_WARM_START_ANALYSIS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "simulations/people/statistics.h"
#include "simulations/people/warm_start.h"

namespace lorikeet {

// One trial, decided.
struct WarmStartOutcome {
  double target = 0;      // nats a token
  int scratch_steps = 0;  // to the target
  int warm_steps = -1;    // -1: never
  double scratch_training = 0,
         warm_training = 0;  // processor seconds, steps alone
  double scratch_everything = 0,
         warm_everything = 0;  // whole; warm: and selection
  // Shares of scratch's.
  double saved_training = 0;  // selection is charged here, too
  double saved_everything = 0;
  double saved_data = 0;
  double selection_share = 0;  // of scratch_training
  double advantage = 0;        // loss of scratch - of warm, when scratch has its best, nats a token
  double early_advantage = 0;  // at a quarter of these steps
  double final_advantage = 0;  // best of each
};

struct SimilarityRow {
  double similarity = 0;
  int trials = 0;
  int chose_persona = 0;
  int chose_right = 0;  // the persona of the owner's style, alone
  int reached = 0;
  int reached_at_once = 0;  // before any step
  Summary saved_training, saved_everything, saved_data, selection_share;
  Summary advantage, early_advantage, final_advantage;
  // Means.
  double scratch_steps = 0, scratch_cpu = 0, selection_cpu = 0, examples_needed = 0;
};

struct WarmStartReport {
  std::string model;
  std::string source;
  WarmStartOptions options;
  std::vector<WarmStartTrial> trials;
  std::vector<WarmStartOutcome> outcomes;  // one a trial
  std::vector<SimilarityRow> rows;
};

// Processor seconds a token of each side's steps: medians over trials.
struct TokenRates {
  double scratch = 0;
  double warm = 0;
};
TokenRates RatesOf(std::span<const WarmStartTrial> trials);

WarmStartOutcome Decide(const WarmStartTrial& trial, const TokenRates& rates, int examples);

// Fills outcomes and rows from trials and options.
void Analyze(WarmStartReport* report);

std::string WarmStartTable(const WarmStartReport& report);
nlohmann::json WarmStartJson(const WarmStartReport& report);
// A self-contained page.
std::string WarmStartPage(const WarmStartReport& report);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_WARM_START_ANALYSIS_H_
