// lorikeet chat: a conversation in the terminal.
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/sampling_options.h"
#include "device/cli/vault_lookup.h"
#include "device/runtime/chat_template.h"
#include "device/runtime/generate.h"

namespace lorikeet {
namespace {

struct ChatArguments {
  EngineArguments engine = EngineArguments::Fast();
  VaultLookupOptions vault;
  std::string system;
  int context = 0;
  GenerateOptions options{
      .max_tokens = 256,
      .sampling = {.temperature = 0.7, .top_k = 40, .top_p = 0.95, .repeat_penalty = 1.1}};
};

// One conversation: keeps the messages, and the cache as far as it still fits them.
class Chat {
 public:
  Chat(const ChatArguments& arguments, ChatTemplate chat_template, std::unique_ptr<Session> session,
       std::unique_ptr<VaultLookup> vault)
      : arguments_(arguments),
        template_(std::move(chat_template)),
        session_(std::move(session)),
        vault_(std::move(vault)) {}

  // The reply, streamed to `output`; for JSON: the turn.  RESOURCE_EXHAUSTED: the question alone is
  // too long for the context; the conversation is as before it then.
  absl::StatusOr<nlohmann::json> Answer(const std::string& question, Output& output);
  void Reset() { messages_.clear(); }

 private:
  // Tokens of the conversation, the oldest exchanges dropped as far as a reply needs room.
  absl::StatusOr<std::vector<TokenId>> EncodeToFit();

  const ChatArguments& arguments_;
  ChatTemplate template_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<VaultLookup> vault_;  // or null
  std::vector<ChatMessage> messages_;   // without the system message
};

absl::StatusOr<std::vector<TokenId>> Chat::EncodeToFit() {
  const size_t context = static_cast<size_t>(session_->context_length());
  const size_t room = std::min(static_cast<size_t>(arguments_.options.max_tokens), context / 2);
  while (true) {
    std::vector<ChatMessage> all;
    if (!arguments_.system.empty()) all.push_back({.role = "system", .content = arguments_.system});
    all.insert(all.end(), messages_.begin(), messages_.end());
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens, template_.Encode(all));
    if (tokens.size() + room <= context) return tokens;
    if (messages_.size() >= 3) {
      messages_.erase(messages_.begin(), messages_.begin() + 2);
      continue;
    }
    if (tokens.size() < context) return tokens;
    return absl::ResourceExhaustedError(
        absl::StrCat("the message: expected it to fit into a context of ", context,
                     " tokens (--context), got ", tokens.size()));
  }
}

// What the vault knows stands before the question and stays there: the beginning of the
// conversation never changes, so that only what is new has to be decoded.
absl::StatusOr<nlohmann::json> Chat::Answer(const std::string& question, Output& output) {
  std::vector<ChosenPassage> passages;
  if (vault_ != nullptr) {
    ASSIGN_OR_RETURN(passages, vault_->Passages(question, session_->context_length(),
                                                session_->context_length() / 2));
  }
  const std::vector<ChatMessage> before = messages_;
  messages_.push_back({.role = "user", .content = MessageFrame(passages, question)});
  absl::StatusOr<std::vector<TokenId>> tokens = EncodeToFit();
  if (absl::IsResourceExhausted(tokens.status()) && !passages.empty()) {
    passages.clear();
    messages_ = before;
    messages_.push_back({.role = "user", .content = question});
    tokens = EncodeToFit();
  }
  if (!tokens.ok()) {
    messages_ = before;
    return tokens.status();
  }
  if (vault_ != nullptr) vault_->Show(passages);

  GenerateOptions options = arguments_.options;
  options.stop_requested = StopRequested;
  if (vault_ != nullptr) vault_->Attach(&options);
  for (std::string& stop : template_.stop_texts()) options.stop_texts.push_back(std::move(stop));
  const std::span<const TokenId> rest = session_->Reuse(*tokens);
  ASSIGN_OR_RETURN(const GenerateResult result,
                   Generate(*session_, rest, options, [&](std::string_view text) {
                     output.Text(text);
                     return true;
                   }));
  output.Line("");
  if (output.progress() && !output.json()) {
    std::fputs(absl::StrCat("[", rest.size(), " of ", tokens->size(), " tokens were new; ",
                            LookupLine(result), "]\n")
                   .c_str(),
               stderr);
  }
  messages_.push_back({.role = "assistant", .content = result.text});
  nlohmann::json turn = {{"user", question},
                         {"assistant", result.text},
                         {"prompt_token_count", tokens->size()},
                         {"decoded_token_count", rest.size()},
                         {"token_count", result.tokens.size()},
                         {"stop_reason", StopReasonName(result.stop_reason)},
                         {"lookup", LookupJson(result)}};
  if (vault_ != nullptr) turn["passages"] = vault_->Json(passages);
  return turn;
}

absl::Status Converse(Chat& chat, Output& output) {
  const bool interactive = isatty(STDIN_FILENO) == 1 && !output.json();
  if (interactive)
    output.Line("/reset starts anew, Ctrl-C ends a reply, /exit or Ctrl-D the conversation.");
  nlohmann::json turns = nlohmann::json::array();
  std::string line;
  while (!StopRequested()) {
    if (interactive) output.Text("> ");
    if (!std::getline(std::cin, line) || line == "/exit") break;
    if (line.empty()) continue;
    if (line == "/reset") {
      chat.Reset();
      continue;
    }
    absl::StatusOr<nlohmann::json> turn = chat.Answer(line, output);
    if (interactive && absl::IsResourceExhausted(turn.status())) {
      // The owner can ask something shorter.
      std::fputs(absl::StrCat("error: ", ToAbsl(Message(turn.status())), "\n").c_str(), stderr);
      continue;
    }
    RETURN_IF_ERROR(turn.status());
    turns.push_back(*std::move(turn));
    if (interactive) ForgetInterrupt();  // it ended this reply
  }
  output.SetJson({{"turns", std::move(turns)}});
  return absl::OkStatus();
}

absl::Status RunChat(const ChatArguments& arguments, Output& output) {
  if (absl::Status status = CheckSamplingOptions(arguments.options.sampling); !status.ok()) {
    return UsageError(Message(status));
  }
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  // As the template's authors do: the date is today's.
  ASSIGN_OR_RETURN(
      ChatTemplate chat_template,
      ChatTemplate::Create(engine.model()->tokenizer(),
                           {.now = absl::ToCivilSecond(absl::Now(), absl::LocalTimeZone())}));
  ASSIGN_OR_RETURN(auto vault, VaultLookup::Open(arguments.vault, engine.model()->tokenizer()));
  const int context =
      arguments.context > 0 ? arguments.context : DefaultContext(*engine.model(), 0);
  ASSIGN_OR_RETURN(std::unique_ptr<Session> session, engine.MakeSession(context));
  Chat chat(arguments, std::move(chat_template), std::move(session), std::move(vault));
  return Converse(chat, output);
}

}  // namespace

void AddChatCommand(Program& program) {
  auto arguments = std::make_shared<ChatArguments>();
  CLI::App* command =
      program.Add("chat", "A conversation; one message a line on standard input",
                  [arguments](Output& output) { return RunChat(*arguments, output); });
  arguments->engine.AddAll(command);
  arguments->vault.Declare(command);
  command->add_option("--system", arguments->system, "The system message");
  command->add_option("--context", arguments->context, "Positions to keep")
      ->check(CLI::PositiveNumber);
  command->add_option("-n,--max-tokens", arguments->options.max_tokens, "Tokens of a reply")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  AddSamplingOptions(command, arguments->options.sampling);
  AddLookupOption(command, arguments->options.lookup);
}

}  // namespace lorikeet
