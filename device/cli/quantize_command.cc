// lorikeet quantize: a model in another tensor type.
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
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

absl::Status RunQuantize(const QuantizeArguments& arguments, Output& output) {
  const auto type = ParseTensorType(arguments.type);
  if (!type) {
    return UsageError(absl::StrCat("quantize: expected one of ",
                                   "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1", ", got '",
                                   arguments.type, "'"));
  }
  ASSIGN_OR_RETURN(const auto model, GgufFile::Open(arguments.in));
  ThreadPool pool(arguments.threads);
  ProgressLine line(output.progress(), "quantizing");
  ASSIGN_OR_RETURN(
      const Requantized result,
      Requantize(*model, *type, &pool, [&](int done, int total) { line.Update(done, total); }));
  const std::string bytes = result.file.Serialize();
  RETURN_IF_ERROR(WriteFileAtomic(arguments.out, bytes));
  output.Line(absl::StrFormat("%d -> %d bytes, rmse %.4g, %d matrices in %s", model->size_bytes(),
                              bytes.size(), result.rmse, result.tensors_changed,
                              TraitsOf(*type).name));
  if (result.tensors_kept > 0) {
    output.Line(absl::StrFormat("%d matrices kept their type: their rows are not multiples of %d",
                                result.tensors_kept, TraitsOf(*type).block_elements));
  }
  output.SetJson({{"bytes_in", model->size_bytes()},
                  {"bytes_out", bytes.size()},
                  {"rmse", result.rmse},
                  {"tensors_changed", result.tensors_changed},
                  {"tensors_kept", result.tensors_kept}});
  return absl::OkStatus();
}

}  // namespace

void AddQuantizeCommand(Program& program) {
  auto arguments = std::make_shared<QuantizeArguments>();
  CLI::App* command =
      program.Add("quantize", "Write a model in another tensor type",
                  [arguments](Output& output) { return RunQuantize(*arguments, output); });
  command->add_option("in", arguments->in, "GGUF model")->required();
  command->add_option("out", arguments->out, "File to write")->required();
  command->add_option("type", arguments->type, "F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1")
      ->required();
  command->add_option("--threads", arguments->threads, "0: all")->check(CLI::NonNegativeNumber);
}

}  // namespace lorikeet
