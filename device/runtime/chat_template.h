// Conversations as a model expects them.
//
// The template in the GGUF file (tokenizer.chat_template) is run as its authors wrote it
// (device/template).  Where that cannot be done, a built-in one of its family is used if its
// markers tell: ChatML ("<|im_start|>") or Llama 3 ("<|start_header_id|>").  Without a template:
// one message a line; a reply ends with its line.  Tools are not supported.
// Markers come only from the template: a message that contains "<|im_end|>" stays text, whatever
// the template does with it.
#ifndef LORIKEET_DEVICE_RUNTIME_CHAT_TEMPLATE_H_
#define LORIKEET_DEVICE_RUNTIME_CHAT_TEMPLATE_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "common/tokenizer/tokenizer.h"
#include "device/template/template.h"

namespace lorikeet {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

struct ChatTemplateOptions {
  // Local time, for templates that write the date.  nullopt: what they fall back to (26 Jul 2024),
  // so that results do not depend on the day.
  std::optional<absl::CivilSecond> now;
};

// A conversation to learn from.
struct LearnedTokens {
  std::vector<TokenId> tokens;
  // 1: a token that the model is to write: the assistant's words and what ends its turn, or what
  // the template marks with {% generation %}.  As long as `tokens`.
  std::vector<float> mask;
};

// Immutable; thread-safe; cheap to copy.
class ChatTemplate {
 public:
  // `tokenizer` is borrowed.  UNIMPLEMENTED: the template cannot be run (the message says why) and
  // is of no known family.
  static absl::StatusOr<ChatTemplate> Create(const Tokenizer& tokenizer,
                                             ChatTemplateOptions options = {});

  // The conversation, then the beginning of the assistant's reply.  A system message that the
  // template refuses or leaves out goes before the first user message's text.
  // INVALID_ARGUMENT: no message, unknown role, the template fails; FAILED_PRECONDITION: it refuses
  // these messages; RESOURCE_EXHAUSTED: it works without end.
  absl::StatusOr<std::vector<TokenId>> Encode(std::span<const ChatMessage> messages) const;

  // The conversation without the beginning of another reply.  Tokens before a reply are those that
  // Encode gives for the messages before it, where the template writes these the same.  Errors as
  // Encode.
  absl::StatusOr<LearnedTokens> EncodeForLearning(std::span<const ChatMessage> messages) const;

  // What the template writes; Origin::source is the index of the message.  Errors as Encode.
  absl::StatusOr<jinja::Text> Render(std::span<const ChatMessage> messages,
                                     bool add_generation_prompt) const;

  // Texts that end a reply besides the vocabulary's end-of-generation tokens.
  std::vector<std::string> stop_texts() const;

 private:
  enum class Family { kOwn, kPlain, kChatMl, kLlama3 };
  ChatTemplate(const Tokenizer& tokenizer, ChatTemplateOptions options, Family family,
               jinja::Template parsed);

  absl::StatusOr<jinja::Text> RenderMessages(std::span<const ChatMessage> messages,
                                             bool merge_system, bool add_generation_prompt) const;
  // Whether the template writes a user's words; sets reply_opening_.
  absl::Status Probe();
  // Bytes [begin, end) of `text`, recognising special tokens as their origins allow.
  std::vector<TextPart> Parts(const jinja::Text& text, std::span<const ChatMessage> messages,
                              size_t begin, size_t end) const;
  // BOS where the vocabulary wants it and the template did not write it.
  bool LacksBos(std::span<const TokenId> tokens) const;
  std::vector<bool> LearnedBytes(const jinja::Text& text,
                                 std::span<const ChatMessage> messages) const;
  size_t EndOfTurn(std::string_view markup) const;

  const Tokenizer* tokenizer_;
  ChatTemplateOptions options_;
  Family family_;
  std::shared_ptr<const jinja::Template> template_;
  std::string reply_opening_;  // what add_generation_prompt adds
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_CHAT_TEMPLATE_H_
