#include "simulations/audit/audit_report.h"

#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"
#include "common/report/svg_plot.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr int kHistogramBins = 60;

std::string Verdict(const AuditResult& result) {
  return result.Refuted() ? "refuted: it costs more than stated" : "consistent with what is stated";
}

std::string Intro(const AuditOptions& options) {
  return absl::StrFormat(
      "Canaries in rounds of %d devices, %d numbers, noise multiplier %g, delta %g; bounds hold "
      "with %g %% confidence each.",
      options.cohort, options.dimension, options.noise_multiplier, options.delta,
      100 * options.confidence);
}

// Share of the scores in each bin of [low, high].
std::vector<PlotPoint> Histogram(std::span<const double> scores, double low, double high) {
  std::vector<double> counts(kHistogramBins);
  const double width = (high - low) / kHistogramBins;
  for (const double score : scores) {
    const int bin = std::clamp(static_cast<int>((score - low) / width), 0, kHistogramBins - 1);
    counts[static_cast<size_t>(bin)] += 1 / static_cast<double>(scores.size());
  }
  std::vector<PlotPoint> points;
  for (int i = 0; i < kHistogramBins; ++i) {
    points.push_back({low + (i + 0.5) * width, counts[static_cast<size_t>(i)]});
  }
  return points;
}

std::string ScorePlot(const AuditResult& result, int width) {
  double low = 0, high = 1;
  for (const auto* scores : {&result.scores_without, &result.scores_with}) {
    for (const double score : *scores) {
      low = std::min(low, score);
      high = std::max(high, score);
    }
  }
  return LinePlot(
      {{.name = "a zero vector was sent", .points = Histogram(result.scores_without, low, high)},
       {.name = "the canary was sent", .points = Histogram(result.scores_with, low, high)}},
      {.x_label = "score, in clip norms",
       .y_label = "share of the canaries",
       .y_from_zero = true,
       .width = width});
}

std::string BoundPlot(const std::vector<AuditResult>& results, int width) {
  std::vector<BarGroup> groups;
  for (const AuditResult& result : results) {
    groups.push_back(
        {std::string(AuditedBuildName(result.build)),
         {result.stated_epsilon, result.one_run_epsilon, result.repeated.gaussian_epsilon}});
  }
  return BarPlot(groups, {"stated", "one run, at least", "repeated, at least"},
                 {.y_label = "epsilon", .y_from_zero = true, .width = width});
}

std::vector<std::vector<std::string>> Rows(const std::vector<AuditResult>& results) {
  std::vector<std::vector<std::string>> rows;
  for (const AuditResult& result : results) {
    rows.push_back({std::string(AuditedBuildName(result.build)),
                    absl::StrFormat("%.3f", result.stated_epsilon),
                    absl::StrFormat("%d of %d", result.guesses.correct, result.guesses.guesses),
                    absl::StrFormat("%.3f", result.one_run_epsilon),
                    absl::StrFormat("%.3f", result.repeated.epsilon),
                    absl::StrFormat("%.3f", result.repeated.gaussian_epsilon), Verdict(result)});
  }
  return rows;
}

const std::vector<std::string>& Header() {
  static const std::vector<std::string> header = {
      "build", "stated", "right guesses", "one run", "repeated", "repeated, Gaussian", "verdict"};
  return header;
}

}  // namespace

std::string AuditTable(const std::vector<AuditResult>& results, const AuditOptions& options) {
  std::string text = absl::StrCat(Intro(options), "\n");
  std::vector<std::vector<std::string>> rows = Rows(results);
  rows.insert(rows.begin(), Header());
  std::vector<size_t> widths(Header().size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&line, row[i], std::string(widths[i] - row[i].size() + 2, ' '));
    }
    absl::StrAppend(&text, line.substr(0, line.find_last_not_of(' ') + 1), "\n");
  }
  return text;
}

json AuditToJson(const std::vector<AuditResult>& results, const AuditOptions& options) {
  json builds = json::array();
  for (const AuditResult& result : results) {
    builds.push_back({{"build", AuditedBuildName(result.build)},
                      {"epsilon_stated", result.stated_epsilon},
                      {"canaries", result.guesses.canaries},
                      {"guesses", result.guesses.guesses},
                      {"correct", result.guesses.correct},
                      {"epsilon_one_run", result.one_run_epsilon},
                      {"epsilon_repeated", result.repeated.epsilon},
                      {"epsilon_repeated_gaussian", result.repeated.gaussian_epsilon},
                      {"separation", result.repeated.separation},
                      {"epsilon_bound", result.EpsilonBound()},
                      {"refuted", result.Refuted()}});
  }
  return {{"cohort", options.cohort},
          {"dimension", options.dimension},
          {"noise_multiplier", options.noise_multiplier},
          {"delta", options.delta},
          {"confidence", options.confidence},
          {"builds", std::move(builds)}};
}

std::string AuditPage(const std::vector<AuditResult>& results, const AuditOptions& options) {
  HtmlPage page("Audit of the contribution pipeline");
  page.Paragraph(Intro(options));
  page.Table(Header(), Rows(results));
  page.Figure(BoundPlot(results, PlotAxes{}.width), BoundPlot(results, kNarrowPlotWidth),
              "Epsilon stated by the accountant, and what the attack shows it to be at least.");
  for (const AuditResult& result : results) {
    page.Heading(AuditedBuildName(result.build));
    page.Figure(ScorePlot(result, PlotAxes{}.width), ScorePlot(result, kNarrowPlotWidth),
                "What the attacker tells apart: the decoded sum along the canary's axis.");
  }
  page.Note(
      "A bound below the stated epsilon proves nothing: another attack may do better. A bound "
      "above it proves that the statement is wrong, but for the confidence.");
  return page.Render();
}

}  // namespace lorikeet
