#include "simulations/people/warm_start_analysis.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace lorikeet {
namespace {

bool HasPersona(const WarmStartTrial& trial) { return trial.chosen != "base"; }

double LossAt(const std::vector<CurvePoint>& points, double step) {
  double loss = points.front().loss;
  for (const CurvePoint& point : points) {
    if (point.step <= step) loss = point.loss;
  }
  return loss;
}

// A summary of one number of the trials of a row.
Summary SummaryOf(const WarmStartReport& report, double similarity,
                  const std::function<double(const WarmStartOutcome&)>& value) {
  std::vector<double> values;
  std::vector<int> personas;
  for (size_t i = 0; i < report.trials.size(); ++i) {
    if (report.trials[i].similarity != similarity) continue;
    values.push_back(value(report.outcomes[i]));
    personas.push_back(report.trials[i].persona);
  }
  return Summarize(values, personas, report.options.seed);
}

SimilarityRow RowOf(const WarmStartReport& report, double similarity) {
  SimilarityRow row;
  row.similarity = similarity;
  for (size_t i = 0; i < report.trials.size(); ++i) {
    const WarmStartTrial& trial = report.trials[i];
    const WarmStartOutcome& outcome = report.outcomes[i];
    if (trial.similarity != similarity) continue;
    ++row.trials;
    row.chose_persona += HasPersona(trial) ? 1 : 0;
    row.chose_right += trial.chosen == trial.persona_id ? 1 : 0;
    row.reached += outcome.warm_steps >= 0 ? 1 : 0;
    row.reached_at_once += outcome.warm_steps == 0 ? 1 : 0;
    row.scratch_steps += outcome.scratch_steps;
    row.scratch_cpu += outcome.scratch_training;
    row.selection_cpu += trial.selection_cpu;
    row.examples_needed +=
        trial.examples_needed > 0 ? trial.examples_needed : report.options.examples;
  }
  for (double* sum :
       {&row.scratch_steps, &row.scratch_cpu, &row.selection_cpu, &row.examples_needed}) {
    *sum /= std::max(1, row.trials);
  }
  const auto summarize = [&](double WarmStartOutcome::* member) {
    return SummaryOf(report, similarity,
                     [member](const WarmStartOutcome& outcome) { return outcome.*member; });
  };
  row.saved_training = summarize(&WarmStartOutcome::saved_training);
  row.saved_everything = summarize(&WarmStartOutcome::saved_everything);
  row.saved_data = summarize(&WarmStartOutcome::saved_data);
  row.selection_share = summarize(&WarmStartOutcome::selection_share);
  row.advantage = summarize(&WarmStartOutcome::advantage);
  row.early_advantage = summarize(&WarmStartOutcome::early_advantage);
  row.final_advantage = summarize(&WarmStartOutcome::final_advantage);
  return row;
}

}  // namespace

TokenRates RatesOf(std::span<const WarmStartTrial> trials) {
  std::vector<double> scratch, warm;
  for (const WarmStartTrial& trial : trials) {
    scratch.push_back(trial.scratch.train_cpu_per_token);
    if (HasPersona(trial)) warm.push_back(trial.warm.train_cpu_per_token);
  }
  return {Median(scratch), Median(warm)};
}

WarmStartOutcome Decide(const WarmStartTrial& trial, const TokenRates& rates, int examples) {
  WarmStartOutcome outcome;
  const CurvePoint& best = BestPoint(trial.scratch.points);
  const CurvePoint* reached = FirstReaching(trial.warm.points, best.loss);
  const CurvePoint& end = reached != nullptr ? *reached : trial.warm.points.back();
  const bool persona = HasPersona(trial);
  outcome.target = best.loss;
  outcome.scratch_steps = best.step;
  outcome.warm_steps = reached != nullptr ? reached->step : -1;
  outcome.scratch_training = rates.scratch * static_cast<double>(best.tokens);
  outcome.scratch_everything = best.cpu;
  outcome.warm_training = (persona ? rates.warm : rates.scratch) * static_cast<double>(end.tokens);
  outcome.warm_everything = trial.selection_cpu + end.cpu;
  const double again_training = reached != nullptr ? 0 : outcome.scratch_training;
  const double again_everything = reached != nullptr ? 0 : outcome.scratch_everything;
  if (outcome.scratch_training > 0 && outcome.scratch_everything > 0) {
    outcome.saved_training = 1 - (trial.selection_cpu + outcome.warm_training + again_training) /
                                     outcome.scratch_training;
    outcome.saved_everything =
        1 - (outcome.warm_everything + again_everything) / outcome.scratch_everything;
    outcome.selection_share = trial.selection_cpu / outcome.scratch_training;
  }
  if (trial.examples_needed > 0) {
    outcome.saved_data = 1 - static_cast<double>(trial.examples_needed) / examples;
  }
  outcome.advantage = best.loss - LossAt(trial.warm.points, best.step);
  outcome.early_advantage =
      LossAt(trial.scratch.points, 0.25 * best.step) - LossAt(trial.warm.points, 0.25 * best.step);
  outcome.final_advantage = best.loss - BestPoint(trial.warm.points).loss;
  return outcome;
}

void Analyze(WarmStartReport* report) {
  const TokenRates rates = RatesOf(report->trials);
  report->outcomes.clear();
  report->rows.clear();
  for (const WarmStartTrial& trial : report->trials) {
    report->outcomes.push_back(Decide(trial, rates, report->options.examples));
  }
  for (const double similarity : report->options.similarities) {
    report->rows.push_back(RowOf(*report, similarity));
  }
}

}  // namespace lorikeet
