// lorikeet chat: a conversation in the terminal.
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/sampling_options.h"
#include "device/cli/vault_options.h"
#include "device/runtime/chat_template.h"
#include "device/runtime/generate.h"

namespace lorikeet {
namespace {

// Passages of the vault shown to the model for one question, and how much of each.
constexpr int kPassages = 3;
constexpr size_t kPassageBytes = 400;

struct ChatArguments {
  EngineArguments engine = EngineArguments::Fast();
  VaultOptions vault;
  std::string system;
  int context = 0;
  GenerateOptions options{
      .max_tokens = 256,
      .sampling = {.temperature = 0.7, .top_k = 40, .top_p = 0.95, .repeat_penalty = 1.1}};
};

// The first `limit` bytes without half a character at the end.
std::string_view Cut(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<uint8_t>(text[limit]) & 0xC0) == 0x80) --limit;
  return text.substr(0, limit);
}

// One conversation: keeps the messages, and the cache as far as it still fits them.
class Chat {
 public:
  Chat(const ChatArguments& arguments, ChatTemplate chat_template, std::unique_ptr<Session> session,
       std::unique_ptr<Vault> vault)
      : arguments_(arguments),
        template_(std::move(chat_template)),
        session_(std::move(session)),
        vault_(std::move(vault)) {}

  // The reply, streamed to `output`.
  absl::StatusOr<std::string> Answer(const std::string& question, Output& output);
  void Reset() { messages_.clear(); }

 private:
  absl::StatusOr<std::string> Passages(const std::string& question) const;
  // Tokens of the conversation, the oldest exchanges dropped as far as a reply needs room.
  absl::StatusOr<std::vector<TokenId>> EncodeToFit(const std::string& system);
  // Drops what the cache holds beyond the common beginning; returns what is left to decode.
  std::span<const TokenId> ReuseCache(const std::vector<TokenId>& tokens);

  const ChatArguments& arguments_;
  ChatTemplate template_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Vault> vault_;
  std::vector<ChatMessage> messages_;  // without the system message
  std::vector<TokenId> cached_;        // tokens behind the session's positions
};

absl::StatusOr<std::string> Chat::Passages(const std::string& question) const {
  std::string text;
  if (vault_ == nullptr) return text;
  ASSIGN_OR_RETURN(const std::vector<SearchHit> hits,
                   vault_->Search(question, kPassages, Purpose::kRetrieve));
  const TextAccess access("chat: passages for the owner's own question");
  for (const SearchHit& hit : hits) {
    absl::StrAppend(&text, text.empty() ? "From the user's notes:\n" : "", "- ",
                    ToAbsl(Cut(hit.passage.Open(access), kPassageBytes)), "\n");
  }
  return text;
}

absl::StatusOr<std::vector<TokenId>> Chat::EncodeToFit(const std::string& system) {
  const int room = std::min(arguments_.options.max_tokens, session_->context_length() / 2);
  while (true) {
    std::vector<ChatMessage> all;
    if (!system.empty()) all.push_back({.role = "system", .content = system});
    all.insert(all.end(), messages_.begin(), messages_.end());
    ASSIGN_OR_RETURN(std::vector<TokenId> tokens, template_.Encode(all));
    const bool fits = tokens.size() + static_cast<size_t>(room) <=
                      static_cast<size_t>(session_->context_length());
    if (fits || messages_.size() < 3) return tokens;
    messages_.erase(messages_.begin(), messages_.begin() + 2);
  }
}

std::span<const TokenId> Chat::ReuseCache(const std::vector<TokenId>& tokens) {
  const size_t known = std::min<size_t>(cached_.size(), session_->position());
  const auto end =
      std::mismatch(cached_.begin(), cached_.begin() + known, tokens.begin(), tokens.end());
  // At least one token must be decoded to have logits.
  const size_t common = std::min<size_t>(end.first - cached_.begin(), tokens.size() - 1);
  session_->Rewind(static_cast<int>(common));
  return std::span(tokens).subspan(common);
}

absl::StatusOr<std::string> Chat::Answer(const std::string& question, Output& output) {
  messages_.push_back({.role = "user", .content = question});
  ASSIGN_OR_RETURN(const std::string passages, Passages(question));
  std::string system = arguments_.system;
  if (!passages.empty()) absl::StrAppend(&system, system.empty() ? "" : "\n\n", passages);
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, EncodeToFit(system));

  GenerateOptions options = arguments_.options;
  for (std::string& stop : template_.stop_texts()) options.stop_texts.push_back(std::move(stop));
  ASSIGN_OR_RETURN(const GenerateResult result,
                   Generate(*session_, ReuseCache(tokens), options, [&](std::string_view text) {
                     output.Text(text);
                     return !StopRequested();
                   }));
  cached_ = tokens;
  cached_.insert(cached_.end(), result.tokens.begin(), result.tokens.end());
  output.Line("");
  messages_.push_back({.role = "assistant", .content = result.text});
  return result.text;
}

absl::Status Converse(Chat& chat, Output& output) {
  const bool interactive = isatty(STDIN_FILENO) == 1 && !output.json();
  if (interactive) output.Line("/reset starts anew, /exit or Ctrl-D ends.");
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
    ASSIGN_OR_RETURN(const std::string reply, chat.Answer(line, output));
    turns.push_back({{"user", line}, {"assistant", reply}});
  }
  output.SetJson({{"turns", std::move(turns)}});
  return absl::OkStatus();
}

absl::Status RunChat(const ChatArguments& arguments, Output& output) {
  if (absl::Status status = CheckSamplingOptions(arguments.options.sampling); !status.ok()) {
    return UsageError(Message(status));
  }
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  ASSIGN_OR_RETURN(ChatTemplate chat_template, ChatTemplate::Create(engine.model()->tokenizer()));
  std::unique_ptr<Vault> vault;
  if (!arguments.vault.dir.empty()) {
    ASSIGN_OR_RETURN(vault, OpenVault(arguments.vault, /*create=*/false));
  }
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
  arguments->vault.Declare(command, /*required=*/false);
  command->add_option("--system", arguments->system, "The system message");
  command->add_option("--context", arguments->context, "Positions to keep")
      ->check(CLI::PositiveNumber);
  command->add_option("-n,--max-tokens", arguments->options.max_tokens, "Tokens of a reply")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  AddSamplingOptions(command, arguments->options.sampling);
}

}  // namespace lorikeet
