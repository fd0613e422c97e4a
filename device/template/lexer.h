// Template source to tokens, white space control applied.
//
// As Jinja's lexer with the settings of Hugging Face's chat templates: trim_blocks (a newline after
// a tag goes), lstrip_blocks (spaces before a tag on its line go), one newline at the end of the
// source goes.  Source: the Jinja documentation, "Whitespace Control".
#ifndef LORIKEET_DEVICE_TEMPLATE_LEXER_H_
#define LORIKEET_DEVICE_TEMPLATE_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lorikeet::jinja {

enum class TokenKind : uint8_t {
  kData,         // text outside tags
  kOutputBegin,  // {{
  kOutputEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // text: escapes resolved
  kInt,
  kFloat,
  kOperator,
  kEnd,  // of the source
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;
  int64_t integer = 0;
  double real = 0;

  bool Is(TokenKind k, std::string_view t) const { return kind == k && text == t; }
};

// INVALID_ARGUMENT names the line and what was expected.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

// INVALID_ARGUMENT "line L: message".
absl::Status ErrorAt(int line, std::string_view message);

}  // namespace lorikeet::jinja

#endif  // LORIKEET_DEVICE_TEMPLATE_LEXER_H_
