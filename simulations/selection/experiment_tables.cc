#include "simulations/selection/experiment_tables.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "simulations/selection/calibration.h"
#include "simulations/selection/experiment_report.h"

namespace lorikeet {
namespace {

std::vector<Method> MethodsOf(const ExperimentResult& result) {
  std::vector<Method> methods;
  for (const AccuracyCell& cell : result.accuracy) {
    if (std::ranges::find(methods, cell.method) == methods.end()) methods.push_back(cell.method);
  }
  return methods;
}

std::string OrDash(const std::optional<double>& share) { return share ? PercentText(*share) : "-"; }

std::string TargetText(const std::optional<double>& target, double reached) {
  if (!target) return "-";
  return absl::StrCat(PercentText(*target), reached >= *target ? " met" : " missed");
}

std::string IntervalText(const Interval& interval) {
  return absl::StrFormat("%.1f-%.1f", 100 * interval.low, 100 * interval.high);
}

// Characters, not bytes.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

double ShareOf(const Cluster& cluster) {
  return cluster.trials > 0
             ? static_cast<double>(cluster.successes) / static_cast<double>(cluster.trials)
             : 0;
}

std::string PercentText(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

std::string ShareText(const Cluster& cluster) {
  return absl::StrCat(PercentText(ShareOf(cluster)), " (",
                      IntervalText(WilsonInterval(cluster.successes, cluster.trials)), ")");
}

TextTable SimilarityTable(const ExperimentOptions& options, const ExperimentResult& result) {
  const int examples = HeadlineExamples(options);
  TextTable table;
  table.title =
      absl::StrFormat("Right persona from %d examples, %d personas x %d trials (95 %% intervals)",
                      examples, result.personas.size(), options.trials);
  table.header = {"similarity", "lorikeet", "clusters", "base instead"};
  std::vector<Method> others = MethodsOf(result);
  std::erase(others, Method::kOurs);
  for (Method method : others) table.header.emplace_back(MethodName(method));
  table.header.insert(table.header.end(), {"XPerT", "target"});
  for (double similarity : options.similarities) {
    const AccuracyCell* ours = FindCell(result, Method::kOurs, similarity, examples);
    if (ours == nullptr) continue;
    const Cluster right = Pooled(ours->right);
    std::vector<std::string> row = {absl::StrFormat("%.0f %%", 100 * similarity), ShareText(right),
                                    IntervalText(ClusterBootstrap(ours->right, options.seed)),
                                    PercentText(ShareOf(Pooled(ours->base)))};
    for (Method method : others) {
      const AccuracyCell* cell = FindCell(result, method, similarity, examples);
      row.push_back(cell == nullptr ? "-" : PercentText(ShareOf(Pooled(cell->right))));
    }
    row.push_back(OrDash(XpertAccuracy(similarity)));
    row.push_back(TargetText(TargetAccuracy(similarity), ShareOf(right)));
    table.rows.push_back(std::move(row));
  }
  return table;
}

TextTable ExamplesTable(const ExperimentOptions& options, const ExperimentResult& result) {
  TextTable table;
  table.title = "Lorikeet's share of right personas by number of examples";
  table.header = {"similarity"};
  for (int examples : options.examples) {
    table.header.push_back(absl::StrFormat("%d examples", examples));
  }
  for (double similarity : options.similarities) {
    std::vector<std::string> row = {absl::StrFormat("%.0f %%", 100 * similarity)};
    for (int examples : options.examples) {
      const AccuracyCell* cell = FindCell(result, Method::kOurs, similarity, examples);
      row.push_back(cell == nullptr ? "-" : ShareText(Pooled(cell->right)));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

TextTable AgainstWordsTable(const ExperimentOptions& options, const ExperimentResult& result,
                            bool must_name) {
  TextTable table;
  table.title = absl::StrCat(
      "Lorikeet minus the word classifier, points (95 % by bootstrap of "
      "personas); never worse is the target; ",
      must_name ? "the likeliest persona, chosen or not, since the "
                  "classifier cannot say \"none\""
                : "the base where it was chosen counts as wrong");
  table.header = {"similarity"};
  for (int examples : options.examples) {
    table.header.push_back(absl::StrFormat("%d examples", examples));
  }
  for (double similarity : options.similarities) {
    std::vector<std::string> row = {absl::StrFormat("%.0f %%", 100 * similarity)};
    for (int examples : options.examples) {
      const AccuracyCell* cell = FindCell(result, Method::kOurs, similarity, examples);
      const AccuracyCell* words = FindCell(result, Method::kClassifier, similarity, examples);
      if (cell == nullptr || words == nullptr) {
        row.emplace_back("-");
        continue;
      }
      const std::vector<Cluster>& ours = must_name ? cell->named : cell->right;
      const Interval interval = ClusterBootstrapDifference(ours, words->right, options.seed);
      row.push_back(absl::StrFormat("%+.1f (%+.1f to %+.1f)",
                                    100 * (ShareOf(Pooled(ours)) - ShareOf(Pooled(words->right))),
                                    100 * interval.low, 100 * interval.high));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

TextTable StrangersTable(const ExperimentResult& result) {
  TextTable table;
  table.title = "Strangers: a persona chosen although none fits (target: at most 5 %)";
  table.header = {"text", "method", "examples", "false persona", "clusters", "trials"};
  for (const StrangerCell& cell : result.strangers) {
    const Cluster sum = Pooled(cell.persona);
    table.rows.push_back(
        {cell.kind, std::string(MethodName(cell.method)), absl::StrCat(cell.examples),
         ShareText(sum),
         cell.persona.size() > 1 ? IntervalText(ClusterBootstrap(cell.persona, 1)) : "-",
         absl::StrCat(sum.trials)});
  }
  return table;
}

TextTable ReliabilityTable(const ExperimentResult& result) {
  TextTable table;
  table.header = {"chosen", "confidence", "mean", "right", "choices"};
  std::string errors;
  for (const bool persona : {true, false}) {
    const std::vector<ReliabilityBin> bins = Reliability(result.confidence, persona);
    const std::string chosen = persona ? "a persona" : "the base";
    absl::StrAppendFormat(&errors, "%s%.3f for %s", persona ? "" : ", ",
                          ExpectedCalibrationError(bins), chosen);
    for (const ReliabilityBin& bin : bins) {
      if (bin.right.trials == 0) continue;
      table.rows.push_back({chosen, absl::StrFormat("%.1f-%.1f", bin.low, bin.high),
                            absl::StrFormat("%.3f", bin.confidence), ShareText(bin.right),
                            absl::StrCat(bin.right.trials)});
    }
  }
  table.title = absl::StrCat(
      "Confidence against truth, all similarities, numbers of examples and strangers; expected "
      "calibration error ",
      errors);
  return table;
}

TextTable CostTable(const ExperimentResult& result) {
  TextTable table;
  table.title =
      "Cost of selecting against the fine-tuning that follows (CPU time; target: at most 3 % at "
      "84, "
      "less than 1.5 x from 14 to 84)";
  table.header = {"pool",        "examples", "selecting", "tokens",
                  "fine-tuning", "tokens",   "share",     "against the smallest pool"};
  const CostLine* smallest = nullptr;
  for (const CostLine& line : result.cost) {
    if (smallest == nullptr || smallest->examples != line.examples) smallest = &line;
    table.rows.push_back(
        {absl::StrCat(line.pool), absl::StrCat(line.examples),
         absl::StrFormat("%.3f s", line.select_cpu_seconds),
         absl::StrFormat("%.0f", line.select_tokens),
         absl::StrFormat("%.2f s", line.train_cpu_seconds),
         absl::StrFormat("%.0f", line.train_tokens), absl::StrFormat("%.2f %%", 100 * line.share()),
         absl::StrFormat("%.2f x",
                         line.select_cpu_seconds / std::max(1e-9, smallest->select_cpu_seconds))});
  }
  return table;
}

std::vector<std::string> TableLines(const TextTable& table) {
  std::vector<size_t> widths;
  for (const std::string& name : table.header) widths.push_back(Width(name));
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  const auto line_of = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      absl::StrAppend(&line, "  ", cells[i]);
      if (i + 1 < cells.size()) line.append(widths[i] - Width(cells[i]), ' ');
    }
    return line;
  };
  std::vector<std::string> lines = {table.title, line_of(table.header)};
  for (const auto& row : table.rows) lines.push_back(line_of(row));
  return lines;
}

}  // namespace lorikeet
