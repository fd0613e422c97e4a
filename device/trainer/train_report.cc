#include "device/trainer/train_report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/report/html_page.h"
#include "common/report/svg_plot.h"

namespace lorikeet {
namespace {

constexpr size_t kMaxPoints = 400;  // of a line: more cannot be told apart

// At most kMaxPoints: means of neighbours.
std::vector<PlotPoint> Thinned(const std::vector<PlotPoint>& points) {
  if (points.size() <= kMaxPoints) return points;
  std::vector<PlotPoint> thin;
  for (size_t bucket = 0; bucket < kMaxPoints; ++bucket) {
    const size_t begin = bucket * points.size() / kMaxPoints;
    const size_t end = (bucket + 1) * points.size() / kMaxPoints;
    PlotPoint mean;
    for (size_t i = begin; i < end; ++i) {
      mean.x += points[i].x;
      mean.y += points[i].y;
    }
    thin.push_back({mean.x / double(end - begin), mean.y / double(end - begin)});
  }
  return thin;
}

std::vector<PlotPoint> PointsOf(const std::vector<LossPoint>& losses) {
  std::vector<PlotPoint> points;
  for (const LossPoint& loss : losses) {
    if (std::isfinite(loss.loss)) points.push_back({double(loss.step), loss.loss});
  }
  return points;
}

// `value` of every step of this call; what lies before a resume was not measured.
std::vector<PlotPoint> PointsOf(const std::vector<StepRecord>& records, bool measured,
                                const std::function<double(const StepRecord&)>& value) {
  std::vector<PlotPoint> points;
  for (const StepRecord& record : records) {
    if (measured && record.seconds <= 0) continue;
    points.push_back({double(record.step), value(record)});
  }
  return Thinned(points);
}

const LossPoint& Best(const std::vector<LossPoint>& points) {
  return *std::ranges::min_element(
      points, [](const LossPoint& a, const LossPoint& b) { return a.loss < b.loss; });
}

std::string StopSentence(const std::string& reason) {
  static const auto* const sentences =
      new std::map<std::string, std::string>{{"steps", "all steps were done"},
                                             {"epochs", "all passes over the data were done"},
                                             {"patience", "the held-out loss no longer fell"},
                                             {"time", "the time allowed was used up"},
                                             {"energy", "the energy allowed was used up"},
                                             {"cancelled", "it was told to stop"},
                                             {"non-finite", "a number was not finite"},
                                             {"checkpoint", "a checkpoint could not be written"}};
  const auto found = sentences->find(reason);
  return found == sentences->end() ? reason : found->second;
}

std::string Summary(const TrainResult& result) {
  std::string text = absl::StrFormat("%d step%s over %d tokens in %.1f s; it ended because %s.",
                                     result.steps, result.steps == 1 ? "" : "s", result.tokens,
                                     result.seconds, StopSentence(result.stopped_because));
  if (!result.eval_loss.empty()) {
    const double before = result.eval_loss.front().loss;
    const LossPoint& best = Best(result.eval_loss);
    absl::StrAppendFormat(&text,
                          " The loss on held-out text was %.4f nats a token before and %.4f at its "
                          "best, after step %d: perplexity %.2f and %.2f.",
                          before, best.loss, best.step, std::exp(before), std::exp(best.loss));
  } else if (!result.train_loss.empty()) {
    absl::StrAppendFormat(&text, " The training loss was %.4f nats a token at first, %.4f at last.",
                          result.train_loss.front().loss, result.train_loss.back().loss);
  }
  return text;
}

std::vector<std::string> Warnings(const TrainReport& report) {
  const TrainResult& result = *report.result;
  std::vector<std::string> warnings = report.warnings;
  if (!result.failure.empty()) warnings.push_back(absl::StrCat("It stopped at ", result.failure));
  if (result.eval_loss.empty()) {
    warnings.push_back("No text was held out: nothing here says how well other text is predicted.");
  } else {
    const LossPoint& best = Best(result.eval_loss);
    if (best.step == 0 && result.steps > 0) {
      warnings.push_back("Training did not lower the held-out loss.");
    } else if (best.step < result.eval_loss.back().step) {
      warnings.push_back(absl::StrFormat(
          "The held-out loss was lowest after step %d and rose afterwards: fewer steps, a smaller "
          "rank or a lower learning rate would do as well.",
          best.step));
    }
  }
  const double measured = double(result.working_set_bytes);
  const double predicted = double(result.predicted_working_set_bytes);
  if (predicted > 0 && measured > 1.1 * predicted) {
    warnings.push_back(absl::StrFormat("The working set was %.1f MB, %.0f%% more than predicted.",
                                       measured / 1e6, 100 * (measured / predicted - 1)));
  }
  return warnings;
}

std::vector<std::vector<std::string>> FactRows(const TrainReport& report) {
  const TrainResult& result = *report.result;
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : report.facts) rows.push_back({name, value});
  rows.push_back({"trained numbers", absl::StrCat(result.parameters)});
  rows.push_back({"tokens a second", absl::StrFormat("%.1f", result.tokens_per_second)});
  rows.push_back(
      {"working set, measured", absl::StrFormat("%.1f MB", result.working_set_bytes / 1e6)});
  if (result.predicted_working_set_bytes > 0) {
    rows.push_back({"working set, predicted",
                    absl::StrFormat("%.1f MB", result.predicted_working_set_bytes / 1e6)});
  }
  if (!report.energy_source.empty()) {
    rows.push_back({"energy", absl::StrFormat("%.1f J (%s)", result.joules, report.energy_source)});
  }
  if (result.paused_seconds > 0) {
    rows.push_back({"held up for", absl::StrFormat("%.1f s", result.paused_seconds)});
  }
  rows.push_back({"stopped because", result.stopped_because});
  return rows;
}

void AddLosses(const TrainResult& result, HtmlPage& page) {
  std::vector<LineSeries> lines = {{"training", Thinned(PointsOf(result.train_loss))}};
  constexpr size_t kFewSteps = 10;  // of which a mean hides more than it shows
  if (result.train_loss.size() > kFewSteps) {
    const double span = std::max(5.0, double(result.train_loss.size()) / 20);
    lines[0].name = "training, each step";
    lines[0].faint = true;
    lines.push_back({"training, smoothed", Thinned(PointsOf(Smoothed(result.train_loss, span)))});
  }
  if (!result.eval_loss.empty()) lines.push_back({"held out", PointsOf(result.eval_loss)});
  page.Heading("Loss").Figure(
      LinePlot(lines,
               {.x_label = "step", .y_label = "nats a token", .whole_x = true, .width = 760}),
      "Mean over the tokens of a step before that step; held-out text after it.");
}

void AddSteps(const TrainResult& result, HtmlPage& page) {
  const auto plot = [&](const char* name, const char* unit, bool measured, const char* caption,
                        const std::function<double(const StepRecord&)>& value) {
    page.Figure(LinePlot({{name, PointsOf(result.records, measured, value)}}, {.x_label = "step",
                                                                               .y_label = unit,
                                                                               .y_from_zero = true,
                                                                               .whole_x = true,
                                                                               .width = 760,
                                                                               .height = 220}),
                caption);
  };
  page.Heading("Steps");
  plot("learning rate", "thousandths", false, "The schedule as it was followed.",
       [](const StepRecord& step) { return 1e3 * step.learning_rate; });
  plot("gradient norm", "norm", false, "Norm of the whole gradient before it was clipped.",
       [](const StepRecord& step) { return step.gradient_norm; });
  plot("speed", "tokens a second", true, "Of the steps alone: evaluations and pauses are left out.",
       [](const StepRecord& step) { return step.tokens_per_second; });
  plot("working set", "MB", true,
       "Memory of the process that no file backs (the mapped model is not counted).",
       [](const StepRecord& step) { return double(step.working_set_bytes) / 1e6; });
}

}  // namespace

std::vector<LossPoint> Smoothed(const std::vector<LossPoint>& points, double span) {
  LORIKEET_CHECK(span > 0);
  const double keep = std::exp(-1.0 / span);
  double sum = 0, weight = 0;
  std::vector<LossPoint> smooth;
  for (const LossPoint& point : points) {
    sum = keep * sum + point.loss;
    weight = keep * weight + 1;
    smooth.push_back({point.step, sum / weight});
  }
  return smooth;
}

std::string DescribeRanks(const Adapter& adapter) {
  std::map<int, std::vector<std::string>> modules;  // by rank
  int count = 0;
  for (const AdapterMatrix& matrix : adapter.matrices) {
    if (matrix.target.layer_index != adapter.matrices.front().target.layer_index) break;
    modules[matrix.rank].emplace_back(ModuleName(matrix.target.module));
    ++count;
  }
  if (modules.size() == 1 && count == kModuleCount) {
    return absl::StrCat(modules.begin()->first, " on all matrices");
  }
  std::vector<std::string> parts;
  for (const auto& [rank, names] : modules) {
    parts.push_back(absl::StrCat(rank, " on ", absl::StrJoin(names, ", ")));
  }
  return absl::StrJoin(parts, "; ");
}

std::string TrainReportPage(const TrainReport& report) {
  LORIKEET_CHECK(report.result != nullptr);
  HtmlPage page(report.title);
  page.Paragraph(Summary(*report.result));
  for (const std::string& warning : Warnings(report)) page.Note(warning);
  AddLosses(*report.result, page);
  page.Heading("The run").Table({"what", "value"}, FactRows(report));
  if (!report.result->records.empty()) AddSteps(*report.result, page);
  return page.Render();
}

}  // namespace lorikeet
