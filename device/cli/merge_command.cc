// lorikeet merge: several adapters as one, or folded into the base.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/gguf_io.h"
#include "common/adapter/sum.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/progress.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/model/merge.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct MergeArguments {
  EngineArguments engine;
  std::string out;
  std::string type = "same";
  bool into_base = false;
};

// Cores between the same factors add up to a core; anything else becomes one LoRA of all ranks.
absl::StatusOr<Adapter> Sum(const std::vector<AdapterRef>& adapters) {
  std::vector<const Adapter*> cores;
  std::vector<float> scales;
  for (const AdapterRef& reference : adapters) {
    cores.push_back(reference.adapter);
    scales.push_back(reference.scale);
  }
  absl::StatusOr<Adapter> blend = BlendCores(cores, scales);
  if (blend.ok()) return blend;
  return SumAdapters(adapters);
}

absl::Status MergeAdapters(const MergeArguments& arguments, const Engine& engine, Output& output) {
  ASSIGN_OR_RETURN(Adapter sum, Sum(engine.adapters()));
  sum.info.version = 0;
  RETURN_IF_ERROR(engine.model()->CheckAdapter(sum));
  RETURN_IF_ERROR(WriteAdapter(sum, arguments.out));
  int rank = 0;
  for (const AdapterMatrix& matrix : sum.matrices) rank = std::max(rank, matrix.rank);
  const char* kind = sum.info.kind == AdapterKind::kCore ? "core" : "lora";
  output.Line(absl::StrFormat("%s: the sum of %d adapters, kind %s, %d matrices of rank %d",
                              arguments.out, engine.adapters().size(), kind, sum.matrices.size(),
                              rank));
  output.SetJson({{"out", arguments.out},
                  {"kind", "adapter"},
                  {"adapter_kind", kind},
                  {"adapters", engine.adapters().size()},
                  {"matrices", sum.matrices.size()},
                  {"rank", rank},
                  {"alpha", sum.info.alpha},
                  {"base_fingerprint", sum.info.base_fingerprint}});
  return absl::OkStatus();
}

absl::Status MergeModel(const MergeArguments& arguments, const Engine& engine,
                        std::optional<FileType> type, Output& output) {
  Requantized result;
  {
    ProgressLine line(output.progress(), "merging");
    ASSIGN_OR_RETURN(result,
                     MergeIntoBase(*engine.model(), {.adapters = engine.adapters(), .type = type},
                                   arguments.out, engine.pool(),
                                   [&](int64_t done, int64_t total) { line.Update(done, total); }));
  }
  ASSIGN_OR_RETURN(const auto merged, GgufFile::Open(arguments.out));
  const std::string fingerprint = ToHex(merged->Fingerprint());
  output.Line(absl::StrFormat(
      "%s: %d bytes, %d tensors rewritten, rmse of rounding %.4g\nbase fingerprint %s",
      arguments.out, result.bytes, result.tensors_changed, result.rmse, fingerprint));
  json matrices = json::object();
  for (const auto& [name, count] : result.matrices) matrices[TraitsOf(name).name] = count;
  output.SetJson({{"out", arguments.out},
                  {"kind", "model"},
                  {"adapters", engine.adapters().size()},
                  {"bytes", result.bytes},
                  {"tensors_changed", result.tensors_changed},
                  {"rmse", result.rmse},
                  {"matrices", std::move(matrices)},
                  {"fingerprint", fingerprint},
                  {"merged_from", engine.model()->fingerprint()}});
  return absl::OkStatus();
}

absl::Status RunMerge(const MergeArguments& arguments, Output& output) {
  std::optional<FileType> type;
  if (arguments.type != "same") {
    type = ParseFileType(arguments.type);
    if (!type) {
      return UsageError(absl::StrCat("merge --type: expected same or one of ", FileTypeNames(),
                                     ", got '", arguments.type, "'"));
    }
    if (!arguments.into_base) return UsageError("merge: --type needs --into-base");
  }
  if (arguments.engine.adapters.empty())
    return UsageError("merge: expected at least one --adapter");
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  return arguments.into_base ? MergeModel(arguments, engine, type, output)
                             : MergeAdapters(arguments, engine, output);
}

}  // namespace

void AddMergeCommand(Program& program) {
  auto arguments = std::make_shared<MergeArguments>();
  CLI::App* command =
      program.Add("merge", "Add adapters up: to one adapter, or into the weights of the base",
                  [arguments](Output& output) { return RunMerge(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddAdapters(command);
  arguments->engine.AddThreads(command);
  command->add_option("--out", arguments->out, "Adapter (with --into-base: model) to write, GGUF")
      ->required();
  command->add_flag("--into-base", arguments->into_base,
                    "Write a model with the adapters folded in: a new base, with its own "
                    "fingerprint");
  command
      ->add_option("--type", arguments->type,
                   absl::StrCat("With --into-base: same (each tensor keeps its own), or one of ",
                                FileTypeNames()))
      ->capture_default_str();
}

}  // namespace lorikeet
