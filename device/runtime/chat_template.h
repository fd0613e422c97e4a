// Conversations as a model expects them.
//
// Not a Jinja interpreter: the template in the GGUF file is recognised by its markers.
//   "<|im_start|>"         ChatML, as Qwen2 and Qwen2.5 write it (their default system message
//   included)
//   "<|start_header_id|>"  Llama 3.x (with the dates that 3.1 and later put into the system
//   message, if they are in the template) no template            plain: one message a line; a reply
//   ends with its line
// Any other template is UNIMPLEMENTED.  Tools are not supported.
// Markers come only from the template: a message that contains "<|im_end|>" stays text.
#ifndef LORIKEET_DEVICE_RUNTIME_CHAT_TEMPLATE_H_
#define LORIKEET_DEVICE_RUNTIME_CHAT_TEMPLATE_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"

namespace lorikeet {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  // `tokenizer` is borrowed.
  static absl::StatusOr<ChatTemplate> Create(const Tokenizer& tokenizer);

  // The conversation, then the beginning of the assistant's reply.  INVALID_ARGUMENT: no message,
  // unknown role.
  absl::StatusOr<std::vector<TokenId>> Encode(std::span<const ChatMessage> messages) const;

  // Texts that end a reply besides the vocabulary's end-of-generation tokens.
  std::vector<std::string> stop_texts() const;

 private:
  enum class Family { kPlain, kChatMl, kLlama3 };
  // Markup is tokenized with special tokens recognised, content without.
  struct Segment {
    std::string text;
    bool is_markup;
  };
  ChatTemplate(const Tokenizer& tokenizer, Family family);

  std::vector<Segment> Plain(std::span<const ChatMessage> messages) const;
  std::vector<Segment> ChatMl(std::span<const ChatMessage> messages) const;
  std::vector<Segment> Llama3(std::span<const ChatMessage> messages) const;

  const Tokenizer* tokenizer_;
  Family family_;
  std::string default_system_;   // ChatML: used when the first message is not the system's
  std::string system_preamble_;  // Llama 3: before the system message
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_CHAT_TEMPLATE_H_
