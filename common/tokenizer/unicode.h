// Characters of a text that may not be valid UTF-8, with the classes that pre-tokenizers ask for.
#ifndef LORIKEET_COMMON_TOKENIZER_UNICODE_H_
#define LORIKEET_COMMON_TOKENIZER_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lorikeet {

enum class CharClass : uint8_t {
  kEnd,     // past the end of the text
  kLetter,  // \p{L}
  kNumber,  // \p{N}
  kSpace,   // \s: Unicode White_Space
  kOther,   // all else, and every bad byte
};

struct Char {
  uint32_t code = 0;  // kBadByte for a byte that is not part of valid UTF-8
  uint8_t size = 0;   // in bytes; 0 only at the end
  CharClass kind = CharClass::kEnd;
};

inline constexpr uint32_t kBadByte = 0xFFFFFFFF;

// The character that starts at `position`.  Overlong forms, surrogates, code points above U+10FFFF,
// stray and missing continuation bytes make the byte at `position` a kBadByte of size 1.
Char CharAt(std::string_view text, size_t position);

// \p{P}.
bool IsPunctuation(uint32_t code);

// REQUIRES: code is a Unicode scalar value.
void AppendUtf8(uint32_t code, std::string& out);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_UNICODE_H_
