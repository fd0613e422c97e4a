// The tokenizer.ggml.* keys of a GGUF file, checked, and what every kind of tokenizer does with
// them alike.
#ifndef LORIKEET_COMMON_TOKENIZER_VOCABULARY_H_
#define LORIKEET_COMMON_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "common/gguf/reader.h"
#include "common/tokenizer/special_tokens.h"
#include "common/tokenizer/text_index.h"
#include "common/tokenizer/tokenizer.h"

namespace lorikeet {

// tokenizer.ggml.token_type.
enum class TokenType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct VocabularyDefaults {
  bool add_bos = false;
  // SentencePiece files may leave the ids of <unk>, <s>, </s> out: 0, 1, 2.
  bool sentencepiece_ids = false;
};

struct Vocabulary {
  std::shared_ptr<const GgufFile> file;     // keeps the strings alive
  std::span<const std::string_view> texts;  // as in the file
  std::vector<TokenType> types;
  TextIndex ids;  // the last of equal texts, as in llama.cpp
  std::optional<TokenId> bos, eos, unknown;
  bool add_bos = false;
  bool add_eos = false;
  absl::flat_hash_set<TokenId> end_of_generation;
  std::string_view chat_template;
  SpecialTokens user_defined;  // recognised in any text
  SpecialTokens all_special;   // with parse_special
  SpecialTokens words;         // user_defined without what looks like a marker of the chat template

  static absl::StatusOr<Vocabulary> Load(std::shared_ptr<const GgufFile> file,
                                         const VocabularyDefaults& defaults);

  bool Contains(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < texts.size(); }
  std::optional<TokenId> Find(std::string_view text) const;
};

// Everything but the encoding of plain text.  Immutable; thread-safe.
class VocabularyTokenizer : public Tokenizer {
 public:
  explicit VocabularyTokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  std::vector<TokenId> Encode(std::string_view text, EncodeOptions options) const final;
  void AppendParts(std::span<const TextPart> parts, std::vector<TokenId>& out) const final;
  int vocabulary_size() const final { return static_cast<int>(vocabulary_.texts.size()); }
  std::optional<TokenId> bos() const final { return vocabulary_.bos; }
  std::optional<TokenId> eos() const final { return vocabulary_.eos; }
  bool adds_bos() const final { return vocabulary_.add_bos; }
  bool IsEndOfGeneration(TokenId id) const final {
    return vocabulary_.end_of_generation.contains(id);
  }
  bool IsSpecial(TokenId id) const final {
    return vocabulary_.Contains(id) && vocabulary_.types[id] == TokenType::kControl;
  }
  std::string_view chat_template() const final { return vocabulary_.chat_template; }

 protected:
  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Appends the tokens of plain text; `first` after the start or a special token.
  virtual void EncodePlain(std::string_view text, bool first, std::vector<TokenId>& out) const = 0;
  // INVALID_ARGUMENT names the id.
  absl::Status CheckId(TokenId id) const;
  // Is recognised as a whole in text, so that it ends a stretch of plain text.
  bool IsWhole(TokenId id) const;

 private:
  Vocabulary vocabulary_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_VOCABULARY_H_
