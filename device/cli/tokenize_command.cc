// lorikeet tokenize: text, or a conversation, on stdin to token ids.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/gguf/reader.h"
#include "common/tokenizer/tokenizer.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/runtime/chat_template.h"

namespace lorikeet {
namespace {

struct TokenizeArguments {
  EngineArguments engine;
  EncodeOptions encode;
  bool chat = false;
  bool learn = false;
};

// [{"role", "content"}, ...], or an object with that under "messages".
absl::StatusOr<std::vector<ChatMessage>> ParseConversation(const std::string& text) {
  const auto document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto& list =
      document.is_object() && document.contains("messages") ? document["messages"] : document;
  const auto is_message = [](const nlohmann::json& message) {
    return message.is_object() && message.contains("role") && message["role"].is_string() &&
           message.contains("content") && message["content"].is_string();
  };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_message)) {
    return absl::InvalidArgumentError(
        "standard input: expected a JSON list of {\"role\": ..., \"content\": ...}, got another "
        "text");
  }
  std::vector<ChatMessage> messages;
  for (const auto& message : list) {
    messages.push_back({.role = message["role"].get<std::string>(),
                        .content = message["content"].get<std::string>()});
  }
  return messages;
}

absl::Status TokenizeChat(const Tokenizer& tokenizer, const std::string& text, bool learn,
                          Output& output) {
  ASSIGN_OR_RETURN(const std::vector<ChatMessage> messages, ParseConversation(text));
  ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::Create(tokenizer));
  ASSIGN_OR_RETURN(const jinja::Text rendered, chat.Render(messages, !learn));
  nlohmann::json document = {{"text", rendered.bytes()}};
  if (learn) {
    ASSIGN_OR_RETURN(const LearnedTokens learned, chat.EncodeForLearning(messages));
    document["ids"] = learned.tokens;
    document["mask"] = std::vector<int>(learned.mask.begin(), learned.mask.end());
  } else {
    ASSIGN_OR_RETURN(const std::vector<TokenId> ids, chat.Encode(messages));
    document["ids"] = ids;
  }
  output.Line(rendered.bytes());
  for (const char* key : {"ids", "mask"}) {
    if (document.contains(key)) {
      output.Line(absl::StrJoin(document[key].get<std::vector<TokenId>>(), " "));
    }
  }
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

absl::Status RunTokenize(const TokenizeArguments& arguments, Output& output) {
  // The vocabulary is enough: files without weights work too.
  ASSIGN_OR_RETURN(const auto file, GgufFile::Open(arguments.engine.model));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(file));
  ASSIGN_OR_RETURN(const std::string text, ReadStdin());
  if (arguments.learn && !arguments.chat) return UsageError("--learn: expected --chat with it");
  if (arguments.chat) return TokenizeChat(*tokenizer, text, arguments.learn, output);
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
  command->add_flag(
      "--chat", arguments->chat,
      "Standard input is a JSON list of messages: what the chat template makes of it");
  command->add_flag("--learn", arguments->learn,
                    "With --chat: the conversation alone, and which tokens training learns");
}

}  // namespace lorikeet
