// The page of warm start trials: what was saved beside XPerT's figures, curves,
// every number.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"
#include "common/report/svg_plot.h"
#include "simulations/people/warm_start_analysis.h"

namespace lorikeet {
namespace {

// XPerT's figures (authors' slides, Llama-3.2-1B on a phone): minutes of
// fine-tuning from a model of this similarity, where scratch takes 97.8 and
// selection 14; share of examples saved.
struct XpertRow {
  double similarity, minutes, data_saved;
};
constexpr std::array<XpertRow, 5> kXpert = {{{0.3, 92.4, 0.046},
                                             {0.5, 81.8, 0.167},
                                             {0.7, 56.7, 0.171},
                                             {0.8, 32.9, 0.247},
                                             {0.9, 17.9, 0.357}}};
constexpr double kXpertScratchMinutes = 97.8, kXpertSelectionMinutes = 14.0;

double XpertNet(const XpertRow& row) {
  return 1 - (row.minutes + kXpertSelectionMinutes) / kXpertScratchMinutes;
}

std::string Percent(const Summary& summary) {
  return absl::StrFormat("%.1f %% [%.1f, %.1f]", 100 * summary.mean,
                         100 * summary.mean_interval.low, 100 * summary.mean_interval.high);
}

std::string Nats(const Summary& summary) {
  return absl::StrFormat("%+.3f [%+.3f, %+.3f]", summary.mean, summary.mean_interval.low,
                         summary.mean_interval.high);
}

LineSeries Series(std::string name, const std::vector<SimilarityRow>& rows,
                  Summary SimilarityRow::* member) {
  LineSeries series;
  series.name = std::move(name);
  for (const SimilarityRow& row : rows) {
    const Summary& summary = row.*member;
    series.points.push_back({100 * row.similarity, 100 * summary.mean});
    series.ranges.push_back(
        {100 * row.similarity, 100 * summary.mean_interval.low, 100 * summary.mean_interval.high});
  }
  return series;
}

std::string SavedPlot(const WarmStartReport& report) {
  LineSeries xpert{.name = "XPerT, net", .points = {}, .faint = true};
  for (const XpertRow& row : kXpert) {
    xpert.points.push_back({100 * row.similarity, 100 * XpertNet(row)});
  }
  return LinePlot({Series("training", report.rows, &SimilarityRow::saved_training),
                   Series("everything", report.rows, &SimilarityRow::saved_everything), xpert},
                  {.x_label = "similarity, %",
                   .y_label = "compute saved, selection included, %",
                   .y_from_zero = true});
}

std::string DataPlot(const WarmStartReport& report) {
  LineSeries xpert{.name = "XPerT", .points = {}, .faint = true};
  for (const XpertRow& row : kXpert) {
    xpert.points.push_back({100 * row.similarity, 100 * row.data_saved});
  }
  return LinePlot(
      {Series("examples", report.rows, &SimilarityRow::saved_data), xpert},
      {.x_label = "similarity, %", .y_label = "examples saved, %", .y_from_zero = true});
}

// The mean over trials of one similarity: loss less than that of the base, by
// budget.
LineSeries MeanCurve(std::string name, const WarmStartReport& report, double similarity,
                     TrainingCurve WarmStartTrial::* side) {
  LineSeries series;
  series.name = std::move(name);
  int count = 0;
  for (const WarmStartTrial& trial : report.trials) {
    const std::vector<CurvePoint>& points = (trial.*side).points;
    if (trial.similarity != similarity) continue;
    series.points.resize(std::max(series.points.size(), points.size()));
    for (size_t i = 0; i < points.size(); ++i) {
      series.points[i].x += points[i].step;
      series.points[i].y += points[i].loss - trial.scratch.points.front().loss;
    }
    ++count;
  }
  for (PlotPoint& point : series.points) {
    point.x /= count;
    point.y /= count;
  }
  return series;
}

std::string CurvePlot(const WarmStartReport& report, double similarity) {
  return LinePlot(
      {MeanCurve("from scratch", report, similarity, &WarmStartTrial::scratch),
       MeanCurve("warm start", report, similarity, &WarmStartTrial::warm)},
      {.x_label = "steps trained for", .y_label = "held-out loss - base, nats", .height = 240});
}

void AddTables(const WarmStartReport& report, HtmlPage* page) {
  std::vector<std::vector<std::string>> saved, quality;
  for (const SimilarityRow& row : report.rows) {
    const std::string similarity = absl::StrFormat("%.0f %%", 100 * row.similarity);
    saved.push_back(
        {similarity, Percent(row.saved_training), Percent(row.saved_everything),
         report.options.examples_needed ? Percent(row.saved_data) : "not measured",
         absl::StrFormat("%d of %d (%d at once)", row.reached, row.trials, row.reached_at_once),
         absl::StrFormat("%d, %d right", row.chose_persona, row.chose_right)});
    quality.push_back({similarity, Nats(row.early_advantage), Nats(row.advantage),
                       Nats(row.final_advantage), absl::StrFormat("%.0f", row.scratch_steps),
                       absl::StrFormat("%.2f", row.scratch_cpu),
                       absl::StrFormat("%.2f", row.selection_cpu), Percent(row.selection_share)});
  }
  page->Heading("What was saved")
      .Table({"similarity", "compute saved (training)", "compute saved (everything)",
              "examples saved", "reached scratch's best", "chose a persona"},
             saved)
      .Heading("How much better, and what it cost")
      .Table({"similarity", "at a quarter of scratch's steps", "at scratch's best step",
              "best of each", "scratch's steps", "scratch, CPU s", "selection, CPU s",
              "selection / scratch"},
             quality);
}

}  // namespace

std::string WarmStartPage(const WarmStartReport& report) {
  HtmlPage page("What a warm start saves, selection included");
  page.Paragraph(absl::StrFormat(
      "%s; %d trials of each similarity; an owner has %d documents, %s of them "
      "in the style of a "
      "persona as often as the similarity says, the others neutral; %d others "
      "measure. Losses are "
      "nats a token; intervals are 95 %%, by bootstrap over personas.",
      report.source, report.options.trials, report.options.examples,
      report.options.blend_personas ? "all (and personas learned from documents that are)" : "each",
      report.options.held_out));
  page.Note(
      "Scratch trains a fresh adapter on the bare base with the "
      "production recipe, for several "
      "budgets of steps, and is charged "
      "up to its best held-out loss. The warm start selects, trains a "
      "residual on what it chose "
      "with the same recipe, and is charged for selection and all steps "
      "up to the same loss. "
      "Everything adds the evaluations, searches of strength and "
      "rehearsal that the recipe makes. A "
      "warm start that never gets there pays for its whole training and "
      "for scratch.");
  page.Heading("What is saved")
      .Figure(SavedPlot(report),
              "Processor time saved, mean and interval. "
              "XPerT: 1 - (fine-tuning + 14 min of "
              "selection) / 97.8 min, from the authors' "
              "slides (Llama-3.2-1B, one trial a style).");
  if (report.options.examples_needed) {
    page.Figure(DataPlot(report),
                "Examples that the warm start does not need to "
                "reach what scratch reaches with all.");
  }
  AddTables(report, &page);
  page.Heading("Loss curves");
  for (const SimilarityRow& row : report.rows) {
    page.Figure(CurvePlot(report, row.similarity),
                absl::StrFormat("%.0f %% similar: mean held-out loss relative to the bare base.",
                                100 * row.similarity));
  }
  return page.Render();
}

}  // namespace lorikeet
