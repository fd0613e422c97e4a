// lorikeet perplexity: how well a model predicts a text.
#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/cli/progress.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/runtime/perplexity.h"

namespace lorikeet {
namespace {

constexpr int kDefaultContext = 512;  // llama.cpp's

struct PerplexityArguments {
  EngineArguments engine;
  std::string file;
  int context = 0;
};

absl::Status RunPerplexity(const PerplexityArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments.file));
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  const std::vector<TokenId> tokens =
      engine.model()->tokenizer().Encode(text, {.add_special = true});
  const int context = arguments.context > 0
                          ? arguments.context
                          : std::min(kDefaultContext, engine.model()->config().context_length);
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine.MakeSession(context));
  absl::StatusOr<PerplexityResult> result = absl::UnknownError("");
  {
    ProgressLine progress(output.progress(), "perplexity");
    result = Perplexity(*session, tokens, context, [&](int done, int total) {
      progress.Update(done, total);
      return !StopRequested();
    });
  }
  RETURN_IF_ERROR(result.status());
  output.Line(absl::StrFormat("perplexity %.4f, mean nll %.6f, %.4f bits a byte, %d tokens scored",
                              result->perplexity, result->mean_nll, result->bits_per_byte,
                              result->tokens));
  output.SetJson({{"perplexity", result->perplexity},
                  {"mean_nll", result->mean_nll},
                  {"bits_per_byte", result->bits_per_byte},
                  {"tokens", result->tokens},
                  {"chunks", result->chunks},
                  {"context", context}});
  return absl::OkStatus();
}

}  // namespace

void AddPerplexityCommand(Program& program) {
  auto arguments = std::make_shared<PerplexityArguments>();
  CLI::App* command =
      program.Add("perplexity", "Perplexity of a text, in llama.cpp's convention",
                  [arguments](Output& output) { return RunPerplexity(*arguments, output); });
  arguments->engine.AddAll(command);
  command->add_option("--file", arguments->file, "The text")->required();
  command
      ->add_option("--context", arguments->context,
                   "Tokens a chunk; default 512, or the model's context if that is shorter")
      ->check(CLI::PositiveNumber);
}

}  // namespace lorikeet
