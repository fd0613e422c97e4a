// lorikeet quantize: a model in other tensor types.
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/thread_pool.h"
#include "common/cli/progress.h"
#include "common/gguf/reader.h"
#include "device/cli/command.h"
#include "device/model/requantize.h"

namespace lorikeet {
namespace {

struct QuantizeArguments {
  std::string in;
  std::string out;
  std::string type;
  int threads = 0;
};

// "217 Q4_K, 29 Q6_K".
std::string TypesText(const std::map<TensorType, int>& matrices) {
  std::string text;
  for (const auto& [type, count] : matrices) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", count, " ", TraitsOf(type).name);
  }
  return text;
}

absl::Status RunQuantize(const QuantizeArguments& arguments, Output& output) {
  const auto type = ParseFileType(arguments.type);
  if (!type) {
    return UsageError(absl::StrCat("quantize: expected one of ", FileTypeNames(), ", got '",
                                   arguments.type, "'"));
  }
  ASSIGN_OR_RETURN(const auto model, GgufFile::Open(arguments.in));
  ThreadPool pool(arguments.threads);
  ProgressLine line(output.progress(), "quantizing");
  ASSIGN_OR_RETURN(const Requantized result,
                   Requantize(*model, *type, arguments.out, &pool,
                              [&](int64_t done, int64_t total) { line.Update(done, total); }));
  output.Line(absl::StrFormat("%d -> %d bytes, rmse %.4g, matrices: %s", model->size_bytes(),
                              result.bytes, result.rmse, TypesText(result.matrices)));
  nlohmann::json matrices = nlohmann::json::object();
  for (const auto& [name, count] : result.matrices) matrices[TraitsOf(name).name] = count;
  output.SetJson({{"bytes_in", model->size_bytes()},
                  {"bytes_out", result.bytes},
                  {"rmse", result.rmse},
                  {"type", FileTypeName(*type)},
                  {"tensors_changed", result.tensors_changed},
                  {"matrices", std::move(matrices)}});
  return absl::OkStatus();
}

}  // namespace

void AddQuantizeCommand(Program& program) {
  auto arguments = std::make_shared<QuantizeArguments>();
  CLI::App* command =
      program.Add("quantize", "Write a model in another type, e.g. Q4_K_M",
                  [arguments](Output& output) { return RunQuantize(*arguments, output); });
  command->add_option("in", arguments->in, "GGUF model")->required();
  command->add_option("out", arguments->out, "File to write")->required();
  command->add_option("type", arguments->type, FileTypeNames())->required();
  command->add_option("--threads", arguments->threads, "0: all")->check(CLI::NonNegativeNumber);
}

}  // namespace lorikeet
