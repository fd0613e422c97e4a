// Text to token ids and back, from the vocabulary in a GGUF file.
//
// tokenizer.ggml.model "gpt2" (byte-level BPE; pre-tokenizers llama-bpe, qwen2, gpt-2/default) and
// "llama" (SentencePiece BPE by scores with byte fallback).  Unknown models or pre-tokenizers are
// an error that names them.  Invalid UTF-8 is never an error for Encode: each bad byte is treated
// as its own unit (see unicode.h).
#ifndef LORIKEET_COMMON_TOKENIZER_TOKENIZER_H_
#define LORIKEET_COMMON_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/gguf/reader.h"

namespace lorikeet {

using TokenId = int32_t;

struct EncodeOptions {
  bool add_special = false;    // BOS / EOS where the vocabulary asks for it
  bool parse_special = false;  // special tokens written in the text are recognised
};

// A part of a text, and which tokens are recognised in it as whole strings.
struct TextPart {
  enum class Recognize : uint8_t {
    kAll,          // special tokens: text that we or the model's authors wrote
    kUserDefined,  // as in plain text: what the model wrote
    // As in plain text but for user-defined tokens that look like markers of the chat template
    // ("<|user|>" in some vocabularies): what others wrote.
    kWords,
  };
  std::string_view text;
  Recognize recognize = Recognize::kWords;
};

// Immutable; thread-safe.
class Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Create(
      std::shared_ptr<const GgufFile> file);
  virtual ~Tokenizer() = default;

  virtual std::vector<TokenId> Encode(std::string_view text, EncodeOptions options = {}) const = 0;
  // Appends the tokens of parts that together are one text and go on from what `out` holds.  Words
  // cross the seams between parts; special tokens do not.
  virtual void AppendParts(std::span<const TextPart> parts, std::vector<TokenId>& out) const = 0;
  // Bytes of one token as they appear in text (special tokens: their name); empty for ids out of
  // range.
  virtual std::string Piece(TokenId id) const = 0;
  // Inverse of Encode for valid UTF-8 without special tokens (SPM drops the leading space it
  // added).  INVALID_ARGUMENT on an id out of range.
  virtual absl::StatusOr<std::string> Decode(std::span<const TokenId> ids) const = 0;

  virtual int vocabulary_size() const = 0;
  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  virtual bool adds_bos() const = 0;
  // Ends generation: EOS, end of turn and the like.
  virtual bool IsEndOfGeneration(TokenId id) const = 0;
  virtual bool IsSpecial(TokenId id) const = 0;  // control tokens
  // Jinja source of tokenizer.chat_template, or empty.
  virtual std::string_view chat_template() const = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_TOKENIZER_H_
