// Cuts text into the words inside which byte-pair merges happen: the regular expressions of
// llama.cpp, by hand.
//
//   llama-bpe  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
//   ?[^\s\p{L}\p{N}]+[\r\n]*|
//              \s*[\r\n]+|\s+(?!\S)|\s+
//   qwen2      the same with \p{N} (one digit a word)
//   gpt-2      's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//   default    runs of [\p{P}$+<=>^~|] first, gpt-2 on every piece, then runs of \p{N}, then
//   [0-9][0-9][0-9]
//
// A byte that is not valid UTF-8 counts as [^\s\p{L}\p{N}].
#ifndef LORIKEET_COMMON_TOKENIZER_PRETOKENIZER_H_
#define LORIKEET_COMMON_TOKENIZER_PRETOKENIZER_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace lorikeet {

enum class PreTokenizer : uint8_t { kLlama, kQwen2, kGpt2, kDefault };

// By the value of tokenizer.ggml.pre; nullopt if unknown.
std::optional<PreTokenizer> ParsePreTokenizer(std::string_view name);
// For error messages.
std::string_view SupportedPreTokenizers();

// The words in order; together they are the text.  Views into it.
std::vector<std::string_view> SplitWords(std::string_view text, PreTokenizer kind);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_PRETOKENIZER_H_
