// Table and JSON of warm start trials.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "simulations/people/warm_start_analysis.h"

namespace lorikeet {
namespace {

using nlohmann::json;

std::string Percent(const Summary& summary) {
  return absl::StrFormat("%5.1f [%5.1f, %5.1f]", 100 * summary.mean,
                         100 * summary.mean_interval.low, 100 * summary.mean_interval.high);
}

json SummaryJson(const Summary& summary) {
  return {{"count", summary.count},
          {"mean", summary.mean},
          {"mean_95", {summary.mean_interval.low, summary.mean_interval.high}},
          {"median", summary.median},
          {"median_95", {summary.median_interval.low, summary.median_interval.high}}};
}

json CurveJson(const TrainingCurve& curve) {
  json points = json::array();
  for (const CurvePoint& point : curve.points) {
    points.push_back({point.step, point.tokens, point.loss, point.cpu});
  }
  return {{"step_tokens_loss_cpu", std::move(points)},
          {"train_cpu_per_token", curve.train_cpu_per_token}};
}

json TrialJson(const WarmStartTrial& trial, const WarmStartOutcome& outcome) {
  return {{"similarity", trial.similarity},
          {"persona", trial.persona_id},
          {"chosen", trial.chosen},
          {"selection_cpu_seconds", trial.selection_cpu},
          {"selection_tokens", trial.selection_tokens},
          {"target", outcome.target},
          {"scratch_steps", outcome.scratch_steps},
          {"warm_steps", outcome.warm_steps},
          {"scratch_cpu_seconds", outcome.scratch_training},
          {"warm_cpu_seconds", outcome.warm_training},
          {"scratch_cpu_seconds_whole", outcome.scratch_everything},
          {"warm_cpu_seconds_whole_with_selection", outcome.warm_everything},
          {"saved_training", outcome.saved_training},
          {"saved_everything", outcome.saved_everything},
          {"examples_needed", trial.examples_needed},
          {"saved_data", outcome.saved_data},
          {"advantage", outcome.advantage},
          {"early_advantage", outcome.early_advantage},
          {"final_advantage", outcome.final_advantage},
          {"scratch", CurveJson(trial.scratch)},
          {"warm", CurveJson(trial.warm)}};
}

json RowJson(const SimilarityRow& row) {
  return {{"similarity", row.similarity},
          {"trials", row.trials},
          {"chose_persona", row.chose_persona},
          {"chose_right", row.chose_right},
          {"reached", row.reached},
          {"reached_at_once", row.reached_at_once},
          {"saved_training", SummaryJson(row.saved_training)},
          {"saved_everything", SummaryJson(row.saved_everything)},
          {"saved_data", SummaryJson(row.saved_data)},
          {"selection_share", SummaryJson(row.selection_share)},
          {"advantage", SummaryJson(row.advantage)},
          {"early_advantage", SummaryJson(row.early_advantage)},
          {"final_advantage", SummaryJson(row.final_advantage)},
          {"scratch_steps", row.scratch_steps},
          {"scratch_cpu_seconds", row.scratch_cpu},
          {"selection_cpu_seconds", row.selection_cpu},
          {"examples_needed", row.examples_needed}};
}

}  // namespace

std::string WarmStartTable(const WarmStartReport& report) {
  std::string table = absl::StrFormat(
      "%s; %d examples, %d held out; %s blended; means with 95 %% intervals\n"
      "similar  right/chose/trials  reached(at once)  net saved %%: training   "
      "  everything        "
      " "
      "  data %%               better at equal steps, nats  "
      "selection/scratch\n",
      report.source, report.options.examples, report.options.held_out,
      report.options.blend_personas ? "personas" : "owners");
  for (const SimilarityRow& row : report.rows) {
    absl::StrAppendFormat(&table,
                          "%5.0f %%   %5d/%d/%d          %5d (%d)           %s  %s  %s  %+.3f "
                          "[%+.3f, %+.3f]  %5.1f %%\n",
                          100 * row.similarity, row.chose_right, row.chose_persona, row.trials,
                          row.reached, row.reached_at_once, Percent(row.saved_training),
                          Percent(row.saved_everything),
                          report.options.examples_needed ? Percent(row.saved_data) : "-",
                          row.advantage.mean, row.advantage.mean_interval.low,
                          row.advantage.mean_interval.high, 100 * row.selection_share.mean);
  }
  return table;
}

json WarmStartJson(const WarmStartReport& report) {
  json rows = json::array(), trials = json::array();
  for (const SimilarityRow& row : report.rows) rows.push_back(RowJson(row));
  for (size_t i = 0; i < report.trials.size(); ++i) {
    trials.push_back(TrialJson(report.trials[i], report.outcomes[i]));
  }
  return {{"model", report.model},
          {"source", report.source},
          {"examples", report.options.examples},
          {"held_out", report.options.held_out},
          {"seed", report.options.seed},
          {"blended", report.options.blend_personas ? "personas" : "owners"},
          {"rows", std::move(rows)},
          {"trials", std::move(trials)}};
}

}  // namespace lorikeet
