// lorikeet detokenize: token ids on stdin to text.
#include <memory>
#include <string>

#include "common/base/status_macros.h"
#include "common/gguf/reader.h"
#include "common/tokenizer/tokenizer.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"

namespace lorikeet {
namespace {

absl::Status RunDetokenize(const EngineArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const auto file, GgufFile::Open(arguments.model));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(file));
  ASSIGN_OR_RETURN(const std::string json, ReadStdin());
  ASSIGN_OR_RETURN(const std::vector<TokenId> ids, ParseTokens(json));
  ASSIGN_OR_RETURN(const std::string text, tokenizer->Decode(ids));
  if (!output.json()) output.Raw(text);
  output.SetJson({{"text", text}});
  return absl::OkStatus();
}

}  // namespace

void AddDetokenizeCommand(Program& program) {
  auto arguments = std::make_shared<EngineArguments>();
  CLI::App* command =
      program.Add("detokenize", "Text of the token ids (a JSON list) on standard input",
                  [arguments](Output& output) { return RunDetokenize(*arguments, output); });
  arguments->AddModel(command);
}

}  // namespace lorikeet
