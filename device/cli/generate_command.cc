// lorikeet generate: text after a prompt, streamed.
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/sampling_options.h"
#include "device/cli/vault_lookup.h"
#include "device/runtime/generate.h"

namespace lorikeet {
namespace {

struct GenerateArguments {
  EngineArguments engine = EngineArguments::Fast();
  std::string prompt;
  std::string prompt_file;
  std::string tokens_file;
  VaultLookupOptions vault;
  std::string session_file;
  int context = 0;
  GenerateOptions options;
};

absl::StatusOr<std::vector<TokenId>> ReadPrompt(const GenerateArguments& arguments,
                                                const Tokenizer& tokenizer) {
  if (!arguments.tokens_file.empty()) return ReadTokensFile(arguments.tokens_file);
  std::string text = arguments.prompt;
  if (!arguments.prompt_file.empty()) {
    ASSIGN_OR_RETURN(text, ReadFile(arguments.prompt_file));
  }
  std::vector<TokenId> tokens =
      tokenizer.Encode(text, {.add_special = true, .parse_special = true});
  if (tokens.empty()) return absl::InvalidArgumentError("expected a prompt, got an empty one");
  return tokens;
}

// What the passages should have to do with: the prompt's words.
absl::StatusOr<std::string> QueryOf(const Tokenizer& tokenizer, std::span<const TokenId> prompt) {
  std::vector<TokenId> words(prompt.begin(), prompt.end());
  std::erase_if(words, [&](TokenId token) { return tokenizer.IsSpecial(token); });
  return tokenizer.Decode(words);
}

// The prompt with the passages of the vault before it; fills `passages`.
absl::StatusOr<std::vector<TokenId>> AddPassages(const GenerateArguments& arguments,
                                                 const Engine& engine, VaultLookup& vault,
                                                 std::vector<TokenId> prompt,
                                                 std::vector<ChosenPassage>* passages) {
  const Tokenizer& tokenizer = engine.model()->tokenizer();
  const int taken = static_cast<int>(prompt.size());
  const int context =
      arguments.context > 0 ? arguments.context : DefaultContext(*engine.model(), taken);
  ASSIGN_OR_RETURN(const std::string query, QueryOf(tokenizer, prompt));
  ASSIGN_OR_RETURN(*passages, vault.Passages(query, context, taken));
  vault.Show(*passages);
  return WithPassages(tokenizer, *passages, prompt);
}

nlohmann::json ToJson(const std::vector<TokenId>& prompt, size_t decoded,
                      const GenerateResult& result) {
  return {{"prompt_tokens", prompt},
          {"tokens", result.tokens},
          {"prompt_token_count", prompt.size()},
          {"reused_token_count", prompt.size() - decoded},
          {"token_count", result.tokens.size()},
          {"text", result.text},
          {"prefill_tokens_per_s", result.prefill_tokens_per_second()},
          {"decode_tokens_per_s", result.decode_tokens_per_second()},
          {"stop_reason", StopReasonName(result.stop_reason)},
          {"context_shifts", result.context_shifts},
          {"lookup", LookupJson(result)}};
}

absl::Status RunGenerate(const GenerateArguments& arguments, Output& output) {
  if (absl::Status status = CheckSamplingOptions(arguments.options.sampling); !status.ok()) {
    return UsageError(Message(status));
  }
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  const Tokenizer& tokenizer = engine.model()->tokenizer();
  ASSIGN_OR_RETURN(std::vector<TokenId> prompt, ReadPrompt(arguments, tokenizer));
  GenerateOptions options = arguments.options;
  options.stop_requested = StopRequested;
  std::vector<ChosenPassage> passages;
  ASSIGN_OR_RETURN(const auto vault, VaultLookup::Open(arguments.vault, tokenizer));
  if (vault != nullptr) {
    vault->Attach(&options);
    ASSIGN_OR_RETURN(prompt, AddPassages(arguments, engine, *vault, std::move(prompt), &passages));
  }
  const int64_t needed = static_cast<int64_t>(prompt.size()) + options.max_tokens;
  const int context =
      arguments.context > 0 ? arguments.context : DefaultContext(*engine.model(), needed);
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, engine.MakeSession(context));
  const std::string& file = arguments.session_file;
  if (!file.empty() && FileExists(file)) RETURN_IF_ERROR(Annotate(session->Load(file), file));
  const std::span<const TokenId> rest = session->Reuse(prompt);
  ASSIGN_OR_RETURN(const GenerateResult result,
                   Generate(*session, rest, options, [&](std::string_view text) {
                     output.Text(text);
                     return true;
                   }));
  if (!file.empty()) RETURN_IF_ERROR(session->Save(file));
  output.Line("");
  if (output.progress() && !output.json()) {
    std::fputs(
        absl::StrFormat(
            "[%d prompt tokens, %d of them new, %.1f/s; %d tokens, %.1f/s; stopped: %s]\n[%s]\n",
            prompt.size(), rest.size(), result.prefill_tokens_per_second(), result.tokens.size(),
            result.decode_tokens_per_second(), ToAbsl(StopReasonName(result.stop_reason)),
            LookupLine(result))
            .c_str(),
        stderr);
  }
  nlohmann::json document = ToJson(prompt, rest.size(), result);
  if (vault != nullptr) document["passages"] = vault->Json(passages);
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

}  // namespace

void AddGenerateCommand(Program& program) {
  auto arguments = std::make_shared<GenerateArguments>();
  CLI::App* command =
      program.Add("generate", "Text after a prompt, streamed",
                  [arguments](Output& output) { return RunGenerate(*arguments, output); });
  arguments->engine.AddAll(command);
  CLI::Option_group* prompt = command->add_option_group("prompt", "One of");
  prompt->add_option("--prompt", arguments->prompt, "The prompt (special tokens recognised)");
  prompt->add_option("--prompt-file", arguments->prompt_file, "A file with the prompt");
  prompt->add_option("--tokens", arguments->tokens_file, "A JSON file with token ids");
  prompt->require_option(1);
  command->add_option("-n,--max-tokens", arguments->options.max_tokens, "Tokens to generate")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--context", arguments->context,
                   "Positions to keep; default the model's own, at most 4096 unless needed")
      ->check(CLI::PositiveNumber);
  command->add_flag("--ignore-end", arguments->options.ignore_end,
                    "Go on after the end of the text");
  command->add_option("--stop", arguments->options.stop_texts, "Stop at this text; repeatable")
      ->allow_extra_args(false);
  command->add_option("--session", arguments->session_file,
                      "Keep what was computed in this file: read before (the beginning that the "
                      "prompt shares with it is not computed again), written after; readable by "
                      "its owner only, not encrypted");
  command->add_flag("--context-shift", arguments->options.context_shift,
                    "When the context is full, go on without the older half of the text (which "
                    "costs decoding the newer half again)");
  command
      ->add_option("--keep", arguments->options.keep,
                   "Tokens at the beginning that a shift keeps; the prompt's BOS always")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  AddSamplingOptions(command, arguments->options.sampling);
  AddLookupOption(command, arguments->options.lookup);
  arguments->vault.Declare(command);
}

}  // namespace lorikeet
