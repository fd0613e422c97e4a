#include "device/cli/finetune_report.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/cli/program.h"
#include "device/trainer/train_report.h"
#include "kernels/isa.h"

namespace lorikeet {
namespace {

using Facts = std::vector<std::pair<std::string, std::string>>;

std::string NameOf(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

std::string ModelText(const FinetuneFacts& facts, const Model& model) {
  const ModelConfig& config = model.config();
  return absl::StrFormat("%s: %s, %d layers of width %d, vocabulary of %d", NameOf(facts.model),
                         config.architecture, config.layer_count, config.embedding_length,
                         config.vocabulary_size);
}

std::string DataText(const FinetuneFacts& facts, const Dataset& dataset) {
  return absl::StrFormat("%s: %d sequences with %d tokens to learn; %d with %d held out",
                         NameOf(facts.data), dataset.train.size(), dataset.train_tokens,
                         dataset.eval.size(), dataset.eval_tokens);
}

std::string ModelWrittenText(const FinetuneFacts& facts, const TrainResult& result) {
  return absl::StrFormat("%s: %d numbers in F32 (%s)", NameOf(facts.out), result.parameters,
                         facts.origin);
}

std::string AdapterText(const FinetuneFacts& facts, const Adapter& adapter) {
  return absl::StrFormat(
      "%s: %s, rank %s, alpha %g (%s)", NameOf(facts.out),
      adapter.info.kind == AdapterKind::kCore ? "core between fixed factors" : "lora",
      DescribeRanks(adapter), adapter.info.alpha, facts.origin);
}

std::string LengthText(const TrainOptions& options) {
  std::string text =
      options.max_steps > 0
          ? absl::StrFormat("%d step%s", options.max_steps, options.max_steps == 1 ? "" : "s")
          : absl::StrFormat("%g passes over the data", options.epochs);
  if (options.patience > 0) {
    absl::StrAppendFormat(&text, ", or %d evaluations without improvement", options.patience);
  }
  return text;
}

std::string BatchText(const FinetuneFacts& facts) {
  const TrainOptions& options = facts.options;
  std::string text =
      absl::StrFormat("%d windows of up to %d tokens", options.batch_size, facts.context);
  if (options.pack_rows > 0) absl::StrAppend(&text, ", short texts packed");
  if (options.accumulate > 1)
    absl::StrAppendFormat(&text, ", %d batches a step", options.accumulate);
  return text;
}

std::string OptimizerText(const TrainOptions& options) {
  const char* schedule = options.schedule == Schedule::kConstant ? "constant"
                         : options.schedule == Schedule::kLinear ? "linear"
                                                                 : "cosine";
  const char* precision =
      options.precision == TrainPrecision::kFast ? "8-bit where weights are quantized" : "exact";
  return absl::StrFormat(
      "AdamW, learning rate %g, %s after %d steps of warm-up; weight decay %g; gradient clipped at "
      "norm %g; seed %d; products %s",
      options.learning_rate, schedule, options.warmup_steps, options.weight_decay,
      options.clip_gradient_norm, options.seed, precision);
}

Facts FactsOf(const FinetuneFacts& facts, const Engine& engine, const Dataset& dataset,
              const TrainResult& result) {
  Facts rows = {{"model", ModelText(facts, *engine.model())},
                {"base fingerprint", engine.model()->fingerprint()}};
  if (!facts.frozen.empty()) {
    std::vector<std::string> names;
    for (const std::string& path : facts.frozen) names.push_back(NameOf(path));
    rows.emplace_back("frozen adapters beneath", absl::StrJoin(names, ", "));
  }
  if (result.adapter.matrices.empty()) {
    rows.emplace_back("model trained", ModelWrittenText(facts, result));
  } else {
    rows.emplace_back("adapter", AdapterText(facts, result.adapter));
  }
  rows.emplace_back("data", DataText(facts, dataset));
  rows.emplace_back("length", LengthText(facts.options));
  rows.emplace_back("batch", BatchText(facts));
  rows.emplace_back("optimizer", OptimizerText(facts.options));
  rows.emplace_back("machine", absl::StrFormat("%d threads, %s", engine.pool()->threads(),
                                               std::string(IsaName())));
  return rows;
}

}  // namespace

absl::Status CheckReportPath(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (folder.empty() || std::filesystem::is_directory(folder, error)) return absl::OkStatus();
  return UsageError(absl::StrCat("--report: expected a path in a folder that exists, got ", path));
}

std::string FinetuneReportPage(const FinetuneFacts& facts, const Engine& engine,
                               const Dataset& dataset, const TrainResult& result) {
  TrainReport report{.title = absl::StrCat("Training of ", NameOf(facts.out)),
                     .facts = FactsOf(facts, engine, dataset, result),
                     .warnings = {},
                     .result = &result,
                     .energy_source = facts.energy_source};
  if (!dataset.note.empty()) report.warnings.push_back(dataset.note);
  return TrainReportPage(report);
}

}  // namespace lorikeet
