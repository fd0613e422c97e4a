#include "device/runtime/chat_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

using jinja::Kind;
using jinja::Origin;
using jinja::Text;
using jinja::Value;

// Where there is no template.
constexpr std::string_view kPlainSource =
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '\\n' }}{% endgeneration %}"
    "{% else %}{{ m.content + '\\n' }}{% endif %}{% endfor %}";

// Families, for templates that cannot be run.
constexpr std::string_view kChatMlSource =
    "{% if messages[0].role != 'system' and default_system %}"
    "{{ '<|im_start|>system\\n' + default_system + '<|im_end|>\\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr std::string_view kLlama3Source =
    "{% macro say(role, text) %}{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' + text "
    "+ '<|eot_id|>' }}{% endmacro %}{{ bos_token }}"
    "{% set system = messages[0].content | trim if messages[0].role == 'system' else '' %}"
    "{% if messages[0].role == 'system' or preamble %}{{ say('system', preamble + system) }}"
    "{% endif %}{% for m in messages %}{% if m.role != 'system' or not loop.first %}"
    "{{ say(m.role, m.content | trim) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

// What Qwen's templates put where there is no system message; newest first.
constexpr std::string_view kDefaultSystems[] = {
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are a helpful assistant",
};

constexpr std::string_view kLlama3Dates =
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

absl::Status CheckMessages(std::span<const ChatMessage> messages) {
  if (messages.empty()) return absl::InvalidArgumentError("expected a message, got none");
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      return absl::InvalidArgumentError(
          absl::StrCat("role: expected system, user or assistant, got \"", message.role, "\""));
    }
  }
  return absl::OkStatus();
}

// A long conversation may take more than a template alone.
jinja::Limits LimitsFor(std::span<const ChatMessage> messages) {
  jinja::Limits limits;
  for (const ChatMessage& message : messages) {
    limits.bytes += 64 * static_cast<int64_t>(message.content.size());
    limits.steps += 64 * static_cast<int64_t>(message.content.size());
  }
  return limits;
}

// The messages as the template sees them.  `merge_system`: the first is put before the second.
absl::StatusOr<Value> MessageList(std::span<const ChatMessage> messages, bool merge_system,
                                  jinja::Heap& heap) {
  ASSIGN_OR_RETURN(const Value role_key, heap.MakeText("role"));
  ASSIGN_OR_RETURN(const Value content_key, heap.MakeText("content"));
  std::vector<Value> list;
  for (size_t i = merge_system ? 1 : 0; i < messages.size(); ++i) {
    Text content;
    if (merge_system && i == 1) {
      content = Text(messages[0].content, Origin{.source = 0});
      content.Append("\n\n", Origin{.source = 0});
    }
    content.Append(messages[i].content, Origin{.source = static_cast<int32_t>(i)});
    jinja::Dict message;
    ASSIGN_OR_RETURN(const Value role, heap.MakeText(messages[i].role));
    ASSIGN_OR_RETURN(const Value text, heap.MakeText(std::move(content)));
    message.items = {{role_key, role}, {content_key, text}};
    ASSIGN_OR_RETURN(const Value dict, heap.MakeDict(std::move(message)));
    list.push_back(dict);
  }
  return heap.MakeList(std::move(list));
}

bool WritesMessage(const Text& text, int32_t index) {
  return std::any_of(text.runs().begin(), text.runs().end(),
                     [&](const Text::Run& run) { return run.origin.source == index; });
}

}  // namespace

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer, ChatTemplateOptions options, Family family,
                           jinja::Template parsed)
    : tokenizer_(&tokenizer),
      options_(options),
      family_(family),
      template_(std::make_shared<const jinja::Template>(std::move(parsed))) {}

absl::StatusOr<ChatTemplate> ChatTemplate::Create(const Tokenizer& tokenizer,
                                                  ChatTemplateOptions options) {
  const std::string_view source = tokenizer.chat_template();
  Family family = source.empty() ? Family::kPlain : Family::kOwn;
  absl::Status failure;
  if (family == Family::kOwn) {
    auto parsed = jinja::Template::Parse(source);
    failure = parsed.status();
    if (failure.ok()) {
      ChatTemplate own(tokenizer, options, family, *std::move(parsed));
      failure = own.Probe();
      if (failure.ok()) return own;
    }
    family = Contains(source, "<|im_start|>")          ? Family::kChatMl
             : Contains(source, "<|start_header_id|>") ? Family::kLlama3
                                                       : Family::kOwn;
  }
  if (family == Family::kOwn) {
    return absl::UnimplementedError(absl::StrCat(
        "the model's chat template cannot be run: ", ToAbsl(Message(failure)),
        "; and it is of no known family: ChatML (<|im_start|>), Llama 3 (<|start_header_id|>)"));
  }
  ASSIGN_OR_RETURN(jinja::Template built_in,
                   jinja::Template::Parse(family == Family::kPlain    ? kPlainSource
                                          : family == Family::kChatMl ? kChatMlSource
                                                                      : kLlama3Source));
  ChatTemplate made(tokenizer, options, family, std::move(built_in));
  RETURN_IF_ERROR(made.Probe());
  return made;
}

absl::Status ChatTemplate::Probe() {
  const ChatMessage probe[] = {{.role = "user", .content = "probe"}};
  const auto open = RenderMessages(probe, false, true);
  if (absl::IsFailedPrecondition(open.status())) return absl::OkStatus();  // it wants others
  RETURN_IF_ERROR(open.status());
  if (!WritesMessage(*open, 0)) {
    return absl::InvalidArgumentError("expected it to write the user's message, got none of it");
  }
  ASSIGN_OR_RETURN(const Text closed, RenderMessages(probe, false, false));
  const auto differs = std::mismatch(open->bytes().begin(), open->bytes().end(),
                                     closed.bytes().begin(), closed.bytes().end());
  reply_opening_.assign(differs.first, open->bytes().end());
  return absl::OkStatus();
}

std::vector<std::string> ChatTemplate::stop_texts() const {
  if (family_ == Family::kPlain) return {"\n"};
  return {};
}

absl::StatusOr<Text> ChatTemplate::RenderMessages(std::span<const ChatMessage> messages,
                                                  bool merge_system,
                                                  bool add_generation_prompt) const {
  jinja::Heap heap(LimitsFor(messages));
  std::vector<std::pair<std::string_view, Value>> variables;
  ASSIGN_OR_RETURN(const Value list, MessageList(messages, merge_system, heap));
  variables.emplace_back("messages", list);
  variables.emplace_back("add_generation_prompt", Value::Bool(add_generation_prompt));
  const auto add = [&](std::string_view name, std::string_view text) -> absl::Status {
    ASSIGN_OR_RETURN(const Value value, heap.MakeText(text));
    variables.emplace_back(name, value);
    return absl::OkStatus();
  };
  if (const auto bos = tokenizer_->bos())
    RETURN_IF_ERROR(add("bos_token", tokenizer_->Piece(*bos)));
  if (const auto eos = tokenizer_->eos())
    RETURN_IF_ERROR(add("eos_token", tokenizer_->Piece(*eos)));
  const std::string_view source = tokenizer_->chat_template();
  if (family_ == Family::kChatMl) {
    const auto* known = std::find_if(std::begin(kDefaultSystems), std::end(kDefaultSystems),
                                     [&](std::string_view text) { return Contains(source, text); });
    RETURN_IF_ERROR(add("default_system", known == std::end(kDefaultSystems) ? "" : *known));
  }
  if (family_ == Family::kLlama3) {
    RETURN_IF_ERROR(
        add("preamble", Contains(source, "Cutting Knowledge Date") ? kLlama3Dates : ""));
  }
  return template_->Render(heap, variables, options_.now);
}

absl::StatusOr<Text> ChatTemplate::Render(std::span<const ChatMessage> messages,
                                          bool add_generation_prompt) const {
  RETURN_IF_ERROR(CheckMessages(messages));
  auto text = RenderMessages(messages, false, add_generation_prompt);
  const bool can_merge =
      messages.size() > 1 && messages[0].role == "system" && messages[1].role == "user";
  const bool refused = absl::IsFailedPrecondition(text.status());
  const bool left_out = text.ok() &&
                        messages[0].content.find_first_not_of(" \t\r\n") != std::string::npos &&
                        !WritesMessage(*text, 0);
  if (can_merge && (refused || left_out)) {
    text = RenderMessages(messages, true, add_generation_prompt);
  }
  if (!text.ok()) return Annotate(text.status(), "chat template");
  return text;
}

std::vector<TextPart> ChatTemplate::Parts(const Text& text, std::span<const ChatMessage> messages,
                                          size_t begin, size_t end) const {
  std::vector<TextPart> parts;
  size_t at = 0;
  for (const Text::Run& run : text.runs()) {
    const size_t from = std::max(at, begin), to = std::min(run.end, end);
    at = run.end;
    if (from >= to) continue;
    auto recognize = TextPart::Recognize::kAll;
    if (const int32_t source = run.origin.source; source != jinja::kMarkup) {
      const bool own_words = messages[static_cast<size_t>(source)].role == "assistant";
      recognize = own_words ? TextPart::Recognize::kUserDefined : TextPart::Recognize::kWords;
    }
    parts.push_back({std::string_view(text.bytes()).substr(from, to - from), recognize});
  }
  return parts;
}

bool ChatTemplate::LacksBos(std::span<const TokenId> tokens) const {
  return tokenizer_->adds_bos() && tokenizer_->bos().has_value() &&
         (tokens.empty() || tokens[0] != *tokenizer_->bos());
}

absl::StatusOr<std::vector<TokenId>> ChatTemplate::Encode(
    std::span<const ChatMessage> messages) const {
  ASSIGN_OR_RETURN(const Text text, Render(messages, /*add_generation_prompt=*/true));
  std::vector<TokenId> tokens;
  tokenizer_->AppendParts(Parts(text, messages, 0, text.size()), tokens);
  if (LacksBos(tokens)) tokens.insert(tokens.begin(), *tokenizer_->bos());
  return tokens;
}

}  // namespace lorikeet
