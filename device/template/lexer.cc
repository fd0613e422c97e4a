#include "device/template/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/tokenizer/unicode.h"
#include "device/template/text.h"

namespace lorikeet::jinja {
namespace {

constexpr size_t kMaxBrackets = 100;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}

// Line ends become "\n"; one at the end goes.
std::string Normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), text_(source_) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < text_.size()) RETURN_IF_ERROR(DataThenTag());
    Add(TokenKind::kEnd, "the end of the template");
    return std::move(tokens_);
  }

 private:
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool At(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  Token& Add(TokenKind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text)});
    return tokens_.back();
  }
  void Advance(size_t count) {
    line_ += static_cast<int>(std::count(text_.begin() + at_, text_.begin() + at_ + count, '\n'));
    at_ += count;
  }
  void SkipSpace() {
    while (at_ < text_.size() && IsSpaceAt(text_, at_)) Advance(CharacterSize(text_, at_));
  }

  absl::Status DataThenTag();
  std::string_view StripData(std::string_view data, bool is_output, char sign) const;
  absl::Status SkipComment();
  absl::StatusOr<bool> TakeRaw();
  absl::Status TakeTag(bool is_output);
  absl::StatusOr<bool> TakeEnd(bool is_output);
  void AfterTagEnd(std::string_view end, bool trim_newline);
  absl::Status TakeToken();
  absl::Status TakeString();
  absl::Status TakeEscape(std::string& out);
  absl::Status TakeNumber();
  absl::Status TakeOperator();

  std::string source_;
  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;  // what was read last ended a line
  std::vector<char> brackets_;
  std::vector<Token> tokens_;
};

absl::Status Lexer::DataThenTag() {
  size_t tag = at_;
  while (tag < text_.size() &&
         !(text_[tag] == '{' && tag + 1 < text_.size() &&
           (text_[tag + 1] == '{' || text_[tag + 1] == '%' || text_[tag + 1] == '#'))) {
    ++tag;
  }
  const std::string_view data = text_.substr(at_, tag - at_);
  if (tag == text_.size()) {
    Add(TokenKind::kData, data);
    Advance(data.size());
    return absl::OkStatus();
  }
  const bool is_output = text_[tag + 1] == '{';
  const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
  const std::string_view kept = StripData(data, is_output, sign);
  if (!kept.empty()) Add(TokenKind::kData, kept);
  Advance(data.size());
  if (Peek(1) == '#') return SkipComment();
  if (!is_output) {
    ASSIGN_OR_RETURN(const bool raw, TakeRaw());
    if (raw) return absl::OkStatus();
  }
  return TakeTag(is_output);
}

std::string_view Lexer::StripData(std::string_view data, bool is_output, char sign) const {
  if (sign == '-') {
    size_t end = 0;  // after the last character that is not white space
    for (size_t i = 0; i < data.size(); i += CharacterSize(data, i)) {
      if (!IsSpaceAt(data, i)) end = i + CharacterSize(data, i);
    }
    return data.substr(0, end);
  }
  if (sign == '+' || is_output) return data;
  const size_t newline = data.rfind('\n');
  const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
  if (line == 0 && !line_starts_) return data;
  for (size_t i = line; i < data.size(); i += CharacterSize(data, i)) {
    if (!IsSpaceAt(data, i)) return data;
  }
  return data.substr(0, line);
}

// What follows the end of a tag: white space after "-", else one newline where blocks trim it.
void Lexer::AfterTagEnd(std::string_view end, bool trim_newline) {
  Advance(end.size());
  if (end[0] == '-') {
    SkipSpace();
  } else if (end[0] != '+' && trim_newline && Peek() == '\n') {
    Advance(1);
  }
  line_starts_ = text_[at_ - 1] == '\n';
}

absl::Status Lexer::SkipComment() {
  const size_t end = text_.find("#}", at_ + 2);
  if (end == std::string_view::npos) {
    return ErrorAt(line_, "expected \"#}\" after \"{#\", got the end of the template");
  }
  const bool sign = end > at_ + 2 && (text_[end - 1] == '-' || text_[end - 1] == '+');
  Advance(end - (sign ? 1 : 0) - at_);
  AfterTagEnd(text_.substr(at_, sign ? 3 : 2), true);
  return absl::OkStatus();
}

// {% raw %} ... {% endraw %}; false: another tag.
absl::StatusOr<bool> Lexer::TakeRaw() {
  const int line = line_;
  // The end of "{% <name> %}" at `from`, or npos.
  const auto tag_end = [&](size_t from, std::string_view name) {
    size_t i = from + 2;
    if (i < text_.size() && (text_[i] == '-' || text_[i] == '+')) ++i;
    while (i < text_.size() && IsSpaceAt(text_, i)) i += CharacterSize(text_, i);
    if (!text_.substr(i).starts_with(name)) return std::string_view::npos;
    i += name.size();
    while (i < text_.size() && IsSpaceAt(text_, i)) i += CharacterSize(text_, i);
    return i;
  };
  const auto is_end = [&](size_t i) {
    const std::string_view rest = i < text_.size() ? text_.substr(i) : std::string_view();
    return rest.starts_with("%}") || rest.starts_with("-%}") || rest.starts_with("+%}");
  };
  const size_t open = tag_end(at_, "raw");
  if (open == std::string_view::npos || !is_end(open)) return false;
  Advance(open - at_);
  AfterTagEnd(text_.substr(at_, Peek() == '%' ? 2 : 3), false);
  for (size_t i = text_.find("{%", at_); i != std::string_view::npos; i = text_.find("{%", i + 1)) {
    const size_t close = tag_end(i, "endraw");
    if (close == std::string_view::npos || !is_end(close)) continue;
    const std::string_view data = text_.substr(at_, i - at_);
    Add(TokenKind::kData, StripData(data, false, i + 2 < text_.size() ? text_[i + 2] : '\0'));
    Advance(close - at_);
    AfterTagEnd(text_.substr(at_, Peek() == '%' ? 2 : 3), true);
    return true;
  }
  return ErrorAt(line, "expected {% endraw %} after {% raw %}, got the end of the template");
}

absl::Status Lexer::TakeTag(bool is_output) {
  Add(is_output ? TokenKind::kOutputBegin : TokenKind::kBlockBegin, is_output ? "{{" : "{%");
  Advance(2);
  if (Peek() == '-' || Peek() == '+') Advance(1);
  brackets_.clear();
  while (true) {
    SkipSpace();
    if (at_ >= text_.size()) {
      return ErrorAt(line_, absl::StrCat("expected \"", is_output ? "}}" : "%}",
                                         "\", got the end of the template"));
    }
    ASSIGN_OR_RETURN(const bool ended, TakeEnd(is_output));
    if (ended) return absl::OkStatus();
    RETURN_IF_ERROR(TakeToken());
  }
}

absl::StatusOr<bool> Lexer::TakeEnd(bool is_output) {
  const std::string_view end = is_output ? "}}" : "%}";
  const bool sign = Peek() == '-' || (!is_output && Peek() == '+');
  if (!brackets_.empty() || !text_.substr(at_ + (sign ? 1 : 0)).starts_with(end)) return false;
  Add(is_output ? TokenKind::kOutputEnd : TokenKind::kBlockEnd, end);
  AfterTagEnd(text_.substr(at_, sign ? 3 : 2), !is_output);
  return true;
}

absl::Status Lexer::TakeToken() {
  const char c = Peek();
  if (c == '"' || c == '\'') return TakeString();
  if (IsDigit(c)) return TakeNumber();
  if (!IsNameStart(c)) return TakeOperator();
  size_t size = 1;
  while (IsNameStart(Peek(size)) || IsDigit(Peek(size))) ++size;
  Add(TokenKind::kName, text_.substr(at_, size));
  Advance(size);
  return absl::OkStatus();
}

absl::Status Lexer::TakeString() {
  const char quote = Peek();
  Token token{TokenKind::kString, line_, {}};
  Advance(1);
  while (Peek() != quote || at_ >= text_.size()) {
    if (at_ >= text_.size()) {
      return ErrorAt(token.line,
                     absl::StrCat("expected ", std::string(1, quote),
                                  " at the end of a string, got the end of the template"));
    }
    if (Peek() == '\\') {
      Advance(1);
      RETURN_IF_ERROR(TakeEscape(token.text));
    } else {
      token.text += Peek();
      Advance(1);
    }
  }
  Advance(1);
  tokens_.push_back(std::move(token));
  return absl::OkStatus();
}

// Python's escapes; the backslash is behind us.
absl::Status Lexer::TakeEscape(std::string& out) {
  constexpr std::string_view kNames = "\n\\'\"abfnrtv";
  constexpr std::string_view kMeanings[] = {"",   "\\", "'",  "\"", "\a", "\b",
                                            "\f", "\n", "\r", "\t", "\v"};
  const char c = Peek();
  if (at_ < text_.size() && kNames.find(c) != std::string_view::npos) {
    out += kMeanings[kNames.find(c)];
    Advance(1);
    return absl::OkStatus();
  }
  int base = 16;
  size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (c >= '0' && c <= '7') {
    base = 8;
    digits = 1;
    while (digits < 3 && Peek(digits) >= '0' && Peek(digits) <= '7') ++digits;
  }
  if (digits == 0) {  // an unknown escape stays
    out += '\\';
    return absl::OkStatus();
  }
  if (base == 16) Advance(1);
  const std::string_view number = text_.substr(at_, digits);
  uint32_t code = 0;
  const auto end = std::from_chars(number.data(), number.data() + number.size(), code, base);
  if (number.size() < digits || end.ptr != number.data() + digits || code > 0x10FFFF ||
      (code >= 0xD800 && code < 0xE000)) {
    return ErrorAt(line_,
                   absl::StrCat("expected ", digits, " digits of a character in an escape, got \"",
                                ToAbsl(number), "\""));
  }
  AppendUtf8(code, out);
  Advance(digits);
  return absl::OkStatus();
}

absl::Status Lexer::TakeNumber() {
  size_t size = 1;
  bool is_float = false;
  const auto digits = [&] {
    while (IsDigit(Peek(size)) || (Peek(size) == '_' && IsDigit(Peek(size + 1)))) ++size;
  };
  digits();
  if (Peek(size) == '.' && IsDigit(Peek(size + 1))) {
    is_float = true;
    ++size;
    digits();
  }
  const size_t sign = Peek(size + 1) == '-' || Peek(size + 1) == '+' ? 1 : 0;
  if ((Peek(size) == 'e' || Peek(size) == 'E') && IsDigit(Peek(size + 1 + sign))) {
    is_float = true;
    size += 1 + sign;
    digits();
  }
  std::string number(text_.substr(at_, size));
  std::erase(number, '_');
  Token& token = Add(is_float ? TokenKind::kFloat : TokenKind::kInt, number);
  const bool read =
      is_float ? absl::SimpleAtod(number, &token.real) : absl::SimpleAtoi(number, &token.integer);
  if (!read) return ErrorAt(line_, absl::StrCat("expected a number in range, got ", number));
  Advance(size);
  return absl::OkStatus();
}

absl::Status Lexer::TakeOperator() {
  constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                             "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                             ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
  const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                   [&](std::string_view text) { return At(text); });
  if (found == std::end(kOperators)) {
    return ErrorAt(line_, absl::StrCat("expected an expression, got the character \"",
                                       ToAbsl(text_.substr(at_, CharacterSize(text_, at_))), "\""));
  }
  const char c = found->front();
  if (c == '(' || c == '[' || c == '{') brackets_.push_back(c);
  if (c == ')' || c == ']' || c == '}') {
    const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
    if (brackets_.empty() || brackets_.back() != open) {
      return ErrorAt(line_, absl::StrCat("expected no \"", std::string(1, c), "\" without its \"",
                                         std::string(1, open), "\""));
    }
    brackets_.pop_back();
  }
  if (brackets_.size() > kMaxBrackets) {
    return ErrorAt(line_, absl::StrCat("expected at most ", kMaxBrackets, " open brackets"));
  }
  Add(TokenKind::kOperator, *found);
  Advance(found->size());
  return absl::OkStatus();
}

}  // namespace

absl::Status ErrorAt(int line, std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", ToAbsl(message)));
}

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  return Lexer(Normalized(source)).Run();
}

}  // namespace lorikeet::jinja
