#include "simulations/selection/experiment_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"
#include "common/report/svg_plot.h"
#include "simulations/selection/calibration.h"
#include "simulations/selection/experiment_tables.h"

namespace lorikeet {
namespace {

struct Published {
  double similarity = 0;
  double accuracy = 0;
};
// Slides of the XPerT authors (pittisl/ExplainablePersonalization).
constexpr Published kXpert[] = {
    {0.3, 0.250}, {0.5, 0.536}, {0.7, 0.857}, {0.8, 0.964}, {0.9, 0.964}};
constexpr Published kTargets[] = {{0.5, 0.65}, {0.7, 0.90}, {0.8, 0.97}, {0.9, 0.97}};

std::optional<double> Lookup(std::span<const Published> table, double similarity) {
  for (const Published& entry : table) {
    if (std::abs(entry.similarity - similarity) < 1e-9) return entry.accuracy;
  }
  return std::nullopt;
}

std::string_view ProtocolName(BlendProtocol blend) {
  return blend == BlendProtocol::kOwner ? "owner" : "persona";
}

std::string ProtocolWords(BlendProtocol blend) {
  return blend == BlendProtocol::kOwner
             ? "Personas are trained on pure text. Similarity is the chance of each of the owner's "
               "examples to be the persona's held-out text; the others are neutral."
             : "Personas are trained on a blend of their own and neutral text (similarity is the "
               "share of their own); the owner's text is pure and held out.";
}

std::string AccuracyPlot(const ExperimentOptions& options, const ExperimentResult& result) {
  std::vector<LineSeries> series;
  const int examples = HeadlineExamples(options);
  LineSeries low{.name = "95 % low", .points = {}, .faint = true};
  LineSeries high = low;
  high.name = "95 % high";
  for (Method method : kAllMethods) {
    LineSeries line{.name = std::string(MethodName(method)), .points = {}};
    for (double similarity : options.similarities) {
      const AccuracyCell* cell = FindCell(result, method, similarity, examples);
      if (cell == nullptr) continue;
      line.points.push_back({.x = 100 * similarity, .y = 100 * ShareOf(Pooled(cell->right))});
      if (method != Method::kOurs) continue;
      const Interval interval = ClusterBootstrap(cell->right, options.seed);
      low.points.push_back({.x = 100 * similarity, .y = 100 * interval.low});
      high.points.push_back({.x = 100 * similarity, .y = 100 * interval.high});
    }
    if (!line.points.empty()) series.push_back(std::move(line));
  }
  LineSeries xpert{.name = "XPerT, published", .points = {}};
  for (const Published& entry : kXpert) {
    xpert.points.push_back({.x = 100 * entry.similarity, .y = 100 * entry.accuracy});
  }
  series.push_back(std::move(xpert));
  series.push_back(std::move(low));
  series.push_back(std::move(high));
  return LinePlot(series, {.x_label = "similarity, %",
                           .y_label = "right persona, %",
                           .y_from_zero = true,
                           .whole_x = true});
}

std::string ExamplesPlot(const ExperimentOptions& options, const ExperimentResult& result) {
  std::vector<LineSeries> series;
  for (Method method : {Method::kOurs, Method::kClassifier}) {
    for (double similarity : options.similarities) {
      LineSeries line{
          .name = absl::StrFormat("%s, %.0f %%", std::string(MethodName(method)), 100 * similarity),
          .points = {},
          .faint = method == Method::kClassifier};
      for (int examples : options.examples) {
        const AccuracyCell* cell = FindCell(result, method, similarity, examples);
        if (cell == nullptr) continue;
        line.points.push_back(
            {.x = static_cast<double>(examples), .y = 100 * ShareOf(Pooled(cell->right))});
      }
      series.push_back(std::move(line));
    }
  }
  return LinePlot(
      series,
      {.x_label = "examples", .y_label = "right persona, %", .y_from_zero = true, .whole_x = true});
}

std::string ReliabilityPlot(const ExperimentResult& result) {
  std::vector<LineSeries> series;
  for (const bool persona : {true, false}) {
    LineSeries& line = series.emplace_back();
    line.name = persona ? "a persona chosen" : "the base chosen";
    for (const ReliabilityBin& bin : Reliability(result.confidence, persona)) {
      if (bin.right.trials > 0) line.points.push_back({.x = bin.confidence, .y = bin.accuracy()});
    }
  }
  series.push_back({.name = "perfect", .points = {{0, 0}, {1, 1}}, .faint = true});
  return LinePlot(series, {.x_label = "confidence", .y_label = "share right", .y_from_zero = true});
}

std::string CostPlot(const ExperimentResult& result) {
  std::vector<LineSeries> series;
  for (const CostLine& line : result.cost) {
    const std::string name = absl::StrFormat("%d examples", line.examples);
    if (series.empty() || series.back().name != name) {
      series.push_back({.name = name, .points = {}});
    }
    series.back().points.push_back({.x = static_cast<double>(line.pool), .y = 100 * line.share()});
  }
  const auto [least, most] = std::ranges::minmax_element(result.cost, {}, &CostLine::pool);
  series.push_back(
      {.name = "target",
       .points = {{static_cast<double>(least->pool), 3}, {static_cast<double>(most->pool), 3}},
       .faint = true});
  return LinePlot(series, {.x_label = "personas in the pool",
                           .y_label = "% of the fine-tuning",
                           .y_from_zero = true,
                           .whole_x = true});
}

void AddTable(const TextTable& table, HtmlPage* page) {
  page->Paragraph(table.title);
  page->Table(table.header, table.rows);
}

nlohmann::json ShareJson(const std::vector<Cluster>& clusters, uint64_t seed) {
  const Cluster sum = Pooled(clusters);
  const Interval wilson = WilsonInterval(sum.successes, sum.trials);
  const Interval bootstrap = ClusterBootstrap(clusters, seed);
  nlohmann::json by_cluster = nlohmann::json::array();
  for (const Cluster& cluster : clusters) by_cluster.push_back(cluster.successes);
  return {{"share", ShareOf(sum)},
          {"successes", sum.successes},
          {"trials", sum.trials},
          {"wilson", {wilson.low, wilson.high}},
          {"bootstrap", {bootstrap.low, bootstrap.high}},
          {"successes_by_cluster", std::move(by_cluster)}};
}

nlohmann::json DifferenceJson(const std::vector<Cluster>& ours, const std::vector<Cluster>& words,
                              uint64_t seed) {
  const Interval interval = ClusterBootstrapDifference(ours, words, seed);
  return {{"share", ShareOf(Pooled(ours)) - ShareOf(Pooled(words))},
          {"bootstrap", {interval.low, interval.high}}};
}

nlohmann::json AccuracyJson(const ExperimentOptions& options, const ExperimentResult& result) {
  nlohmann::json list = nlohmann::json::array();
  for (const AccuracyCell& cell : result.accuracy) {
    nlohmann::json entry = {{"method", MethodName(cell.method)},
                            {"similarity", cell.similarity},
                            {"examples", cell.examples},
                            {"right", ShareJson(cell.right, options.seed)},
                            {"named", ShareOf(Pooled(cell.named))},
                            {"base_chosen", ShareOf(Pooled(cell.base))}};
    const AccuracyCell* words =
        FindCell(result, Method::kClassifier, cell.similarity, cell.examples);
    if (cell.method == Method::kOurs && words != nullptr) {
      entry["minus_words"] = DifferenceJson(cell.right, words->right, options.seed);
      entry["named_minus_words"] = DifferenceJson(cell.named, words->right, options.seed);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

nlohmann::json StrangersJson(const ExperimentOptions& options, const ExperimentResult& result) {
  nlohmann::json list = nlohmann::json::array();
  for (const StrangerCell& cell : result.strangers) {
    list.push_back({{"method", MethodName(cell.method)},
                    {"text", cell.kind},
                    {"examples", cell.examples},
                    {"false_persona", ShareJson(cell.persona, options.seed)}});
  }
  return list;
}

nlohmann::json CostJson(const ExperimentResult& result) {
  nlohmann::json list = nlohmann::json::array();
  for (const CostLine& line : result.cost) {
    list.push_back({{"pool", line.pool},
                    {"examples", line.examples},
                    {"select_cpu_seconds", line.select_cpu_seconds},
                    {"select_tokens", line.select_tokens},
                    {"train_cpu_seconds", line.train_cpu_seconds},
                    {"train_tokens", line.train_tokens},
                    {"share", line.share()}});
  }
  return list;
}

nlohmann::json CalibrationJson(const ExperimentResult& result, bool persona) {
  const std::vector<ReliabilityBin> bins = Reliability(result.confidence, persona);
  nlohmann::json list = nlohmann::json::array();
  for (const ReliabilityBin& bin : bins) {
    list.push_back({{"low", bin.low},
                    {"high", bin.high},
                    {"confidence", bin.confidence},
                    {"right", bin.accuracy()},
                    {"choices", bin.right.trials}});
  }
  return {{"bins", std::move(list)}, {"expected_error", ExpectedCalibrationError(bins)}};
}

}  // namespace

std::optional<double> XpertAccuracy(double similarity) { return Lookup(kXpert, similarity); }
std::optional<double> TargetAccuracy(double similarity) { return Lookup(kTargets, similarity); }

int HeadlineExamples(const ExperimentOptions& options) {
  const auto& examples = options.examples;
  return std::ranges::find(examples, 20) != examples.end() ? 20
                                                           : *std::ranges::max_element(examples);
}

std::vector<std::string> ExperimentLines(const ExperimentOptions& options,
                                         const ExperimentResult& result) {
  std::vector<std::string> lines = {
      absl::StrFormat("%s, protocol \"%s\", seed %d: %.0f s, %d losses measured for %d asked",
                      result.texts, std::string(ProtocolName(options.blend)), options.seed,
                      result.seconds, result.losses_measured, result.losses_asked)};
  std::vector<TextTable> tables = {SimilarityTable(options, result),
                                   ExamplesTable(options, result),
                                   AgainstWordsTable(options, result, false),
                                   AgainstWordsTable(options, result, true),
                                   StrangersTable(result),
                                   ReliabilityTable(result)};
  if (!result.cost.empty()) tables.push_back(CostTable(result));
  for (const TextTable& table : tables) {
    lines.emplace_back();
    for (std::string& line : TableLines(table)) lines.push_back(std::move(line));
  }
  return lines;
}

std::string ExperimentPage(const ExperimentOptions& options, const ExperimentResult& result) {
  HtmlPage page("Choosing a persona: how often it is right");
  page.Paragraph(absl::StrFormat(
      "%s, %d trials each, seed %d. %s Trials of one persona share its text, so two intervals are "
      "given: Wilson's, as if all trials were independent, and a bootstrap of whole personas "
      "(\"clusters\").",
      result.texts, options.trials, options.seed, ProtocolWords(options.blend)));
  page.Heading("By similarity");
  page.Figure(AccuracyPlot(options, result),
              absl::StrFormat("%d examples. Faint: the interval of lorikeet, by persona. XPerT: 28 "
                              "other styles, another model, one trial a style; its figures are its "
                              "authors'.",
                              HeadlineExamples(options)));
  AddTable(SimilarityTable(options, result), &page);
  page.Heading("By number of examples");
  page.Figure(ExamplesPlot(options, result), "Faint: the word classifier.");
  AddTable(ExamplesTable(options, result), &page);
  AddTable(AgainstWordsTable(options, result, false), &page);
  AddTable(AgainstWordsTable(options, result, true), &page);
  page.Heading("Text unlike any persona");
  AddTable(StrangersTable(result), &page);
  page.Heading("Confidence");
  page.Figure(ReliabilityPlot(result),
              "Choices in ten groups by their confidence.  How often the base is right depends on "
              "how many strangers are among the owners.");
  AddTable(ReliabilityTable(result), &page);
  if (!result.cost.empty()) {
    page.Heading("Cost");
    page.Figure(CostPlot(result),
                "Selecting, nothing remembered, against the default fine-tuning on the same text.");
    AddTable(CostTable(result), &page);
    page.Paragraph(absl::StrFormat(
        "Pools larger than %d hold copies whose cores are moved by a tenth at random and whose "
        "cards are counted over half of the seed text.",
        result.personas.size()));
  }
  return page.Render();
}

nlohmann::json ExperimentJson(const ExperimentOptions& options, const ExperimentResult& result) {
  return {{"texts", result.texts},
          {"personas", result.personas},
          {"protocol", ProtocolName(options.blend)},
          {"trials", options.trials},
          {"seed", options.seed},
          {"similarities", options.similarities},
          {"examples", options.examples},
          {"accuracy", AccuracyJson(options, result)},
          {"strangers", StrangersJson(options, result)},
          {"calibration",
           {{"persona", CalibrationJson(result, true)}, {"base", CalibrationJson(result, false)}}},
          {"cost", CostJson(result)},
          {"losses_measured", result.losses_measured},
          {"losses_asked", result.losses_asked},
          {"seconds", result.seconds}};
}

}  // namespace lorikeet
