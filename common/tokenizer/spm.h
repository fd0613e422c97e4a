// SentencePiece BPE (tokenizer.ggml.model "llama").  Create it through tokenizer.h.
//
// A space is put before the text and after special tokens (tokenizer.ggml.add_space_prefix), spaces
// become U+2581, and the pair of neighbours whose union has the best score, the leftmost among
// equals, is merged while there is one. Characters that are no token become byte tokens <0xNN>.
#ifndef LORIKEET_COMMON_TOKENIZER_SPM_H_
#define LORIKEET_COMMON_TOKENIZER_SPM_H_

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/vocabulary.h"

namespace lorikeet {

// Immutable after Create; thread-safe.
class SpmTokenizer final : public VocabularyTokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Create(
      std::shared_ptr<const GgufFile> file);

  std::string Piece(TokenId id) const override;
  // Drops the space that Encode put at the start and after special tokens.  A U+2581 of the text
  // comes back as a space.
  absl::StatusOr<std::string> Decode(std::span<const TokenId> ids) const override;

 private:
  using VocabularyTokenizer::VocabularyTokenizer;
  struct Symbols;
  absl::Status LoadScores();
  void EncodePlain(std::string_view text, bool first, std::vector<TokenId>& out) const override;

  void EmitTokens(const Symbols& symbols, std::vector<TokenId>& out) const;

  std::vector<double> scores_;
  std::array<std::optional<TokenId>, 256> byte_tokens_;
  bool space_prefix_ = true;
  // No token holds a U+2581 after another character: words then merge on their own, which is much
  // faster.
  bool words_apart_ = false;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_SPM_H_
