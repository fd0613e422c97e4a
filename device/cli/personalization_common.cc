#include "device/cli/personalization_common.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <span>

#include "absl/strings/str_format.h"
#include "device/personalization/history_entry.h"

namespace lorikeet {
namespace {

using nlohmann::json;

json OrNull(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }

json PointsJson(const std::vector<LossPoint>& points) {
  json list = json::array();
  for (const LossPoint& point : points)
    list.push_back({{"step", point.step}, {"loss", point.loss}});
  return list;
}

std::string OrDash(const std::optional<double>& value) {
  return value ? absl::StrFormat("%.3f", *value) : "-";
}

}  // namespace

void AddSelectOptions(CLI::App* command, SelectOptions& options) {
  command->add_option("--candidates", options.candidate_count, "Personas whose loss is measured")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--select-tokens", options.token_budget, "Held-out tokens a candidate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("!--no-blend", options.blend, "Do not try the blend of the best two");
}

json SelectionJson(const Selection& selection, const Catalog& catalog) {
  json ranked = json::array();
  for (const RankedCandidate& line : selection.ranked) {
    ranked.push_back({{"id", line.id},
                      {"score", line.score},
                      {"style_distance", OrNull(line.style_distance)},
                      {"explanation_distance", OrNull(line.explanation_distance)},
                      {"held_out_loss", OrNull(line.held_out_loss)}});
  }
  json weights = json::object();
  for (const PersonaWeight& part : selection.weights) {
    weights[catalog.personas[static_cast<size_t>(part.index)].id] = part.weight;
  }
  return {{"ranked", std::move(ranked)},
          {"chosen", selection.chosen},
          {"weights", std::move(weights)},
          {"reason", selection.reason},
          {"confidence", selection.confidence},
          {"share", selection.share},
          {"stages", selection.stages},
          {"sentence", selection.card.sentence},
          {"tokens_scored", selection.tokens_scored},
          {"seconds", selection.seconds},
          {"cpu_seconds", selection.cpu_seconds}};
}

void PrintSelection(const Selection& selection, Output& output) {
  output.Line(absl::StrFormat("%-16s %11s %10s %12s %10s", "candidate", "probability", "style",
                              "explanation", "loss"));
  constexpr size_t kLines = 12;
  for (const RankedCandidate& line :
       std::span(selection.ranked).first(std::min(kLines, selection.ranked.size()))) {
    output.Line(absl::StrFormat("%-16s %11.3f %10s %12s %10s", line.id, line.score,
                                OrDash(line.style_distance), OrDash(line.explanation_distance),
                                OrDash(line.held_out_loss)));
  }
  if (selection.ranked.size() > kLines) {
    output.Line(absl::StrFormat("... and %d more (--json)", selection.ranked.size() - kLines));
  }
  output.Line(absl::StrFormat("\nchosen: %s (confidence %.2f, %.2f s, %.2f CPU s)",
                              selection.chosen, selection.confidence, selection.seconds,
                              selection.cpu_seconds));
  output.Line(selection.reason);
}

json TrainingJson(const TrainResult& result) {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return {{"steps", result.steps},
          {"tokens", result.tokens},
          {"train_loss", PointsJson(result.train_loss)},
          {"eval_loss", PointsJson(result.eval_loss)},
          {"tokens_per_s", result.tokens_per_second},
          {"peak_rss", static_cast<int64_t>(usage.ru_maxrss) * 1024},
          {"working_set", result.working_set_bytes},
          {"stopped_because", result.stopped_because}};
}

ProgressCallback TrainingProgress(const Output& output) {
  const bool show = output.progress();
  return [show](const TrainProgress& progress) {
    if (show && !progress.begins) {
      const std::string line = absl::StrFormat(
          "\rstep %d/%d  loss %.3f%s  %.0f tokens/s ", progress.step, progress.total_steps,
          progress.loss,
          progress.eval_loss ? absl::StrFormat("  held out %.3f", *progress.eval_loss) : "",
          progress.tokens_per_second);
      std::fputs(line.c_str(), stderr);
      if (progress.step == progress.total_steps) std::fputs("\n", stderr);
    }
    return !StopRequested();
  };
}

nlohmann::json PersonalizeJson(const PersonalizeResult& result, const Catalog& catalog) {
  nlohmann::json document = SelectionJson(result.selection, catalog);
  document.update(TrainingJson(result.training));
  document["outcome"] = OutcomeName(result.outcome);
  document["verdict"] = result.verdict;
  document["loss_base"] = result.loss_base;
  document["loss_persona"] = result.loss_persona;
  document["loss_before"] = result.loss_existing.value_or(result.loss_persona);
  document["loss_after"] = result.loss_personalized;
  document["judge_tokens"] = result.judge_tokens;
  return document;
}

}  // namespace lorikeet
