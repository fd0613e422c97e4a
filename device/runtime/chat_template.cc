#include "device/runtime/chat_template.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// What Qwen's templates put where there is no system message; newest first.
constexpr std::string_view kDefaultSystems[] = {
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a helpful assistant",
};

// The date that Llama's template falls back to: replies must not depend on the day.
constexpr std::string_view kLlama3Dates =
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

std::string Trim(const std::string& text) { return std::string(absl::StripAsciiWhitespace(text)); }

}  // namespace

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer, Family family)
    : tokenizer_(&tokenizer), family_(family) {
  const std::string_view source = tokenizer.chat_template();
  if (family == Family::kChatMl) {
    for (const std::string_view text : kDefaultSystems) {
      if (default_system_.empty() && Contains(source, text)) default_system_ = text;
    }
  }
  if (family == Family::kLlama3 && Contains(source, "Cutting Knowledge Date")) {
    system_preamble_ = kLlama3Dates;
  }
}

absl::StatusOr<ChatTemplate> ChatTemplate::Create(const Tokenizer& tokenizer) {
  const std::string_view source = tokenizer.chat_template();
  if (source.empty()) return ChatTemplate(tokenizer, Family::kPlain);
  if (Contains(source, "<|im_start|>")) return ChatTemplate(tokenizer, Family::kChatMl);
  if (Contains(source, "<|start_header_id|>")) return ChatTemplate(tokenizer, Family::kLlama3);
  return absl::UnimplementedError(
      "the model's chat template is of no known family; supported: ChatML (<|im_start|>), "
      "Llama 3 (<|start_header_id|>), none");
}

std::vector<std::string> ChatTemplate::stop_texts() const {
  if (family_ == Family::kPlain) return {"\n"};
  return {};
}

std::vector<ChatTemplate::Segment> ChatTemplate::Plain(
    std::span<const ChatMessage> messages) const {
  std::string text;
  for (const ChatMessage& message : messages) absl::StrAppend(&text, message.content, "\n");
  return {{.text = std::move(text), .is_markup = false}};
}

std::vector<ChatTemplate::Segment> ChatTemplate::ChatMl(
    std::span<const ChatMessage> messages) const {
  std::vector<Segment> segments;
  if (messages[0].role != "system" && !default_system_.empty()) {
    segments.push_back(
        {absl::StrCat("<|im_start|>system\n", default_system_, "<|im_end|>\n"), true});
  }
  for (const ChatMessage& message : messages) {
    segments.push_back({absl::StrCat("<|im_start|>", message.role, "\n"), true});
    segments.push_back({message.content, false});
    segments.push_back({"<|im_end|>\n", true});
  }
  segments.push_back({"<|im_start|>assistant\n", true});
  return segments;
}

std::vector<ChatTemplate::Segment> ChatTemplate::Llama3(
    std::span<const ChatMessage> messages) const {
  const auto header = [](std::string_view role) {
    return Segment{absl::StrCat("<|start_header_id|>", ToAbsl(role), "<|end_header_id|>\n\n"),
                   true};
  };
  std::vector<Segment> segments;
  const bool has_system = messages[0].role == "system";
  if (has_system || !system_preamble_.empty()) {
    segments.push_back(header("system"));
    segments.push_back({system_preamble_, true});
    segments.push_back({has_system ? Trim(messages[0].content) : "", false});
    segments.push_back({"<|eot_id|>", true});
  }
  for (const ChatMessage& message : messages.subspan(has_system ? 1 : 0)) {
    segments.push_back(header(message.role));
    segments.push_back({Trim(message.content), false});
    segments.push_back({"<|eot_id|>", true});
  }
  segments.push_back(header("assistant"));
  return segments;
}

absl::StatusOr<std::vector<TokenId>> ChatTemplate::Encode(
    std::span<const ChatMessage> messages) const {
  if (messages.empty()) return absl::InvalidArgumentError("expected a message, got none");
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      return absl::InvalidArgumentError(
          absl::StrCat("role: expected system, user or assistant, got \"", message.role, "\""));
    }
  }
  std::vector<Segment> segments;
  switch (family_) {
    case Family::kPlain:
      segments = Plain(messages);
      break;
    case Family::kChatMl:
      segments = ChatMl(messages);
      break;
    case Family::kLlama3:
      segments = Llama3(messages);
      break;
  }
  std::vector<TokenId> tokens;
  if (tokenizer_->bos() && (tokenizer_->adds_bos() || family_ == Family::kLlama3)) {
    tokens.push_back(*tokenizer_->bos());
  }
  for (const Segment& segment : segments) {
    const std::vector<TokenId> ids =
        tokenizer_->Encode(segment.text, {.parse_special = segment.is_markup});
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }
  return tokens;
}

}  // namespace lorikeet
