// lorikeet tokenize: text on stdin to token ids.
#include <memory>
#include <string>

#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/gguf/reader.h"
#include "common/tokenizer/tokenizer.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"

namespace lorikeet {
namespace {

struct TokenizeArguments {
  EngineArguments engine;
  EncodeOptions encode;
};

absl::Status RunTokenize(const TokenizeArguments& arguments, Output& output) {
  // The vocabulary is enough: files without weights work too.
  ASSIGN_OR_RETURN(const auto file, GgufFile::Open(arguments.engine.model));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(file));
  ASSIGN_OR_RETURN(const std::string text, ReadStdin());
  const std::vector<TokenId> ids = tokenizer->Encode(text, arguments.encode);
  output.Line(absl::StrJoin(ids, " "));
  output.SetJson({{"ids", ids}});
  return absl::OkStatus();
}

}  // namespace

void AddTokenizeCommand(Program& program) {
  auto arguments = std::make_shared<TokenizeArguments>();
  CLI::App* command =
      program.Add("tokenize", "Token ids of the text on standard input",
                  [arguments](Output& output) { return RunTokenize(*arguments, output); });
  arguments->engine.AddModel(command);
  command->add_flag("--special", arguments->encode.parse_special,
                    "Recognise special tokens in the text");
  command->add_flag("--bos", arguments->encode.add_special,
                    "Add BOS and EOS where the vocabulary asks for it");
}

}  // namespace lorikeet
