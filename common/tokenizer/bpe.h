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
    Symbol left, right, merged;
  };
  struct Part {
    Symbol symbol;
    uint32_t size;  // in bytes
  };

  BpeTokenizer(Vocabulary vocabulary, PreTokenizer pre_tokenizer);
  absl::Status LoadMerges();
  // Adds merges_.back() to the table; a pair that is there already keeps its rank.
  void IndexLastMerge();
  // The slot of the pair, or the empty one where it would go.
  size_t MergeSlot(Symbol left, Symbol right) const;
  // The rank of the pair, or kNoRank.
  int32_t FindMerge(Symbol left, Symbol right) const;
  void EncodePlain(std::string_view text, bool first, std::vector<TokenId>& out) const override;
  void EncodeWord(std::string_view word, std::vector<TokenId>& out) const;
  // Both merge `parts` to the end.  Short: quadratic, in place.  Long: O(n log n).
  void MergeShort(std::vector<Part>& parts) const;
  void MergeLong(std::vector<Part>& parts) const;

  PreTokenizer pre_tokenizer_;
  std::vector<Merge> merges_;         // by rank
  std::vector<int32_t> merge_slots_;  // an open hash table of ranks by pair; -1: empty
  std::array<Symbol, 256> byte_symbols_{};
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_BPE_H_
