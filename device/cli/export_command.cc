// lorikeet export: adapters between GGUF files and the directories of Hugging Face's PEFT.
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/gguf_io.h"
#include "common/adapter/peft.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/model/model.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct ExportArguments {
  std::string model;
  std::string adapter;
  std::string out;
  std::string to;  // "peft", "gguf"; empty: what the adapter is not
  std::string dtype = "f32";
  std::string base_name;
};

void Report(const Adapter& adapter, const std::string& format, const std::string& note,
            const ExportArguments& arguments, Output& output) {
  int rank = 0;
  for (const AdapterMatrix& matrix : adapter.matrices) rank = std::max(rank, matrix.rank);
  output.Line(absl::StrFormat("%s: %d matrices, rank %d, %s", arguments.out,
                              adapter.matrices.size(), rank,
                              format == "peft" ? "PEFT " + arguments.dtype : "GGUF"));
  if (!note.empty()) output.Line(note);
  json document = {{"format", format},
                   {"out", arguments.out},
                   {"architecture", adapter.info.architecture},
                   {"kind", adapter.info.kind == AdapterKind::kCore ? "core" : "lora"},
                   {"matrices", adapter.matrices.size()},
                   {"rank", rank},
                   {"alpha", adapter.info.alpha},
                   {"base_fingerprint", adapter.info.base_fingerprint}};
  if (!note.empty()) document["note"] = note;
  output.SetJson(std::move(document));
}

absl::Status ToPeftDirectory(const ExportArguments& arguments, const Model& model, Output& output) {
  ASSIGN_OR_RETURN(const PeftBase base, ReadPeftBase(model.file()));
  ASSIGN_OR_RETURN(const Adapter adapter, ReadAdapter(arguments.adapter));
  RETURN_IF_ERROR(Annotate(model.CheckAdapter(adapter), arguments.adapter));
  const PeftOptions options{.type = ParseTensorType(arguments.dtype).value(),
                            .base_model = arguments.base_name};
  RETURN_IF_ERROR(Annotate(ExportPeft(adapter, base, options, arguments.out), arguments.adapter));
  const bool is_core = adapter.info.kind == AdapterKind::kCore;
  Report(adapter, "peft",
         is_core ? "a core leaves as plain LoRA (B R); keep the GGUF file to train it further" : "",
         arguments, output);
  return absl::OkStatus();
}

absl::Status ToGgufFile(const ExportArguments& arguments, const Model& model, Output& output) {
  ASSIGN_OR_RETURN(const PeftBase base, ReadPeftBase(model.file()));
  ASSIGN_OR_RETURN(const Adapter adapter, ImportPeft(arguments.adapter, base));
  RETURN_IF_ERROR(Annotate(model.CheckAdapter(adapter), arguments.adapter));
  RETURN_IF_ERROR(WriteAdapter(adapter, arguments.out));
  Report(adapter, "gguf",
         adapter.info.base_fingerprint.empty()
             ? "it does not name its base: commands will check it by shapes only"
             : "",
         arguments, output);
  return absl::OkStatus();
}

absl::Status RunExport(const ExportArguments& arguments, Output& output) {
  const bool is_peft = std::filesystem::is_directory(arguments.adapter);
  const std::string to = !arguments.to.empty() ? arguments.to : (is_peft ? "gguf" : "peft");
  if ((to == "gguf") != is_peft) {
    return UsageError(absl::StrCat("export --to ", to, ": expected --adapter to be a ",
                                   to == "gguf" ? "PEFT directory" : "GGUF file", ", got ",
                                   arguments.adapter, is_peft ? ", a directory" : ""));
  }
  ASSIGN_OR_RETURN(const auto model, Model::Load(arguments.model));
  return is_peft ? ToGgufFile(arguments, *model, output)
                 : ToPeftDirectory(arguments, *model, output);
}

}  // namespace

void AddExportCommand(Program& program) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command = program.Add(
      "export", "Turn a GGUF adapter into a Hugging Face PEFT directory, or one into the other",
      [arguments](Output& output) { return RunExport(*arguments, output); });
  command->add_option("--model", arguments->model, "Base model (GGUF): its heads order the rows")
      ->required();
  command
      ->add_option("--adapter", arguments->adapter,
                   "What to convert: a GGUF adapter, or a directory of adapter_model.safetensors "
                   "and adapter_config.json")
      ->required();
  command
      ->add_option("--out", arguments->out,
                   "PEFT directory to write into (made where missing), or GGUF file to write")
      ->required();
  command->add_option("--to", arguments->to, "peft or gguf; default: what --adapter is not")
      ->check(CLI::IsMember({"peft", "gguf"}));
  command->add_option("--dtype", arguments->dtype, "Of PEFT tensors")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  command->add_option("--base-name", arguments->base_name,
                      "base_model_name_or_path of the PEFT config; default: the model's own name");
}

}  // namespace lorikeet
