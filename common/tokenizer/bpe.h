// Byte-level BPE (tokenizer.ggml.model "gpt2").  Create it through tokenizer.h.
//
// Each byte of a word stands as one printable character in the vocabulary (GPT-2's table); the
// best-ranked pair of neighbours, the leftmost among equals, is merged until no pair is in
// tokenizer.ggml.merges.
#ifndef LORIKEET_COMMON_TOKENIZER_BPE_H_
#define LORIKEET_COMMON_TOKENIZER_BPE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/tokenizer/pretokenizer.h"
#include "common/tokenizer/vocabulary.h"

namespace lorikeet {

// Immutable after Create; thread-safe.
class BpeTokenizer final : public VocabularyTokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Create(
      std::shared_ptr<const GgufFile> file);

  std::string Piece(TokenId id) const override;
  // The concatenated pieces: exact bytes, whatever they are.
  absl::StatusOr<std::string> Decode(std::span<const TokenId> ids) const override;

 private:
  // A token, or (from vocabulary_size() on) a string that only merges mention.
  using Symbol = int32_t;
  struct Merge {
    int32_t rank;
    Symbol merged;
  };
  struct Part {
    Symbol symbol;
    uint32_t size;  // in bytes
  };

  BpeTokenizer(Vocabulary vocabulary, PreTokenizer pre_tokenizer);
  absl::Status LoadMerges();
  const Merge* FindMerge(Symbol left, Symbol right) const;
  void EncodePlain(std::string_view text, bool first, std::vector<TokenId>& out) const override;
  void EncodeWord(std::string_view word, std::vector<TokenId>& out) const;
  // Both merge `parts` to the end.  Short: quadratic, in place.  Long: O(n log n).
  void MergeShort(std::vector<Part>& parts) const;
  void MergeLong(std::vector<Part>& parts) const;

  PreTokenizer pre_tokenizer_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // left symbol << 32 | right symbol
  std::array<Symbol, 256> byte_symbols_{};
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_BPE_H_
