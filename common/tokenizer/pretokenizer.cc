#include "common/tokenizer/pretokenizer.h"

#include <limits>

#include "common/tokenizer/unicode.h"

namespace lorikeet {
namespace {

bool IsNewline(const Char& c) { return c.code == '\r' || c.code == '\n'; }

// The end of the longest run of `kind` from `position`.
size_t SkipRun(std::string_view text, size_t position, CharClass kind,
               size_t limit = std::numeric_limits<size_t>::max()) {
  for (Char c = CharAt(text, position); c.kind == kind && limit > 0; --limit) {
    position += c.size;
    c = CharAt(text, position);
  }
  return position;
}

// Length of 's 't 'm 'd 're 've 'll at `position`, or 0.
size_t ContractionLength(std::string_view text, size_t position, bool ignore_case) {
  const auto at = [&](size_t i) -> char {
    if (position + i >= text.size()) return '\0';
    const char c = text[position + i];
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  if (at(0) != '\'') return 0;
  const char first = at(1), second = at(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  return 0;
}

// \s+(?!\S)|\s+ : white space before a word leaves its last character to the word.
size_t WhiteSpaceEnd(std::string_view text, size_t position) {
  size_t end = position, last = position;
  Char c = CharAt(text, end);
  while (c.kind == CharClass::kSpace) {
    last = end;
    end += c.size;
    c = CharAt(text, end);
  }
  return last > position && c.kind != CharClass::kEnd ? last : end;
}

// \s*[\r\n]+ : the end after the last line break of the white space at `position`, or `position` if
// it has none.
size_t LineBreaksEnd(std::string_view text, size_t position) {
  size_t end = position;
  for (Char c = CharAt(text, position); c.kind == CharClass::kSpace; c = CharAt(text, position)) {
    position += c.size;
    if (IsNewline(c)) end = position;
  }
  return end;
}

// The alternatives in the order of the expression.  REQUIRES: position < text.size().
size_t LlamaWordEnd(std::string_view text, size_t position, size_t max_digits) {
  const Char c = CharAt(text, position);
  if (const size_t length = ContractionLength(text, position, true)) return position + length;
  const Char next = CharAt(text, position + c.size);
  if (c.kind == CharClass::kLetter ||
      (next.kind == CharClass::kLetter && !IsNewline(c) && c.kind != CharClass::kNumber)) {
    return SkipRun(text, position + c.size, CharClass::kLetter);
  }
  if (c.kind == CharClass::kNumber) return SkipRun(text, position, CharClass::kNumber, max_digits);
  if (c.kind == CharClass::kOther || (c.code == ' ' && next.kind == CharClass::kOther)) {
    size_t end = SkipRun(text, position + c.size, CharClass::kOther);
    while (IsNewline(CharAt(text, end))) ++end;
    return end;
  }
  const size_t breaks = LineBreaksEnd(text, position);
  return breaks > position ? breaks : WhiteSpaceEnd(text, position);
}

size_t Gpt2WordEnd(std::string_view text, size_t position) {
  if (const size_t length = ContractionLength(text, position, false)) return position + length;
  const Char c = CharAt(text, position);
  const Char first = c.code == ' ' ? CharAt(text, position + 1) : c;
  if (first.kind != CharClass::kSpace && first.kind != CharClass::kEnd) {
    return SkipRun(text, c.code == ' ' ? position + 1 : position, first.kind);
  }
  return WhiteSpaceEnd(text, position);
}

void SplitGpt2(std::string_view text, std::vector<std::string_view>& words) {
  for (size_t start = 0; start < text.size();) {
    const size_t end = Gpt2WordEnd(text, start);
    words.push_back(text.substr(start, end - start));
    start = end;
  }
}

// Cuts `text` into maximal runs of characters that match and that do not, and passes each on.
template <typename Match, typename Sink>
void SplitRuns(std::string_view text, const Match& match, const Sink& sink) {
  for (size_t start = 0; start < text.size();) {
    Char c = CharAt(text, start);
    const bool matches = match(c);
    size_t end = start;
    do {
      end += c.size;
      c = CharAt(text, end);
    } while (c.kind != CharClass::kEnd && match(c) == matches);
    sink(text.substr(start, end - start), matches);
    start = end;
  }
}

bool IsDefaultPunctuation(const Char& c) {
  constexpr std::string_view kSymbols = "$+<=>^~|";
  return IsPunctuation(c.code) ||
         (c.code < 0x80 && kSymbols.find(static_cast<char>(c.code)) != std::string_view::npos);
}

void SplitDefault(std::string_view text, std::vector<std::string_view>& words) {
  const auto digits = [&](std::string_view run, bool ascii_digits) {
    for (; ascii_digits && run.size() >= 3; run.remove_prefix(3)) words.push_back(run.substr(0, 3));
    if (!run.empty()) words.push_back(run);
  };
  const auto is_digit = [](const Char& c) { return c.code >= '0' && c.code <= '9'; };
  const auto numbers = [&](std::string_view run, bool) { SplitRuns(run, is_digit, digits); };
  const auto is_number = [](const Char& c) { return c.kind == CharClass::kNumber; };
  const auto pieces = [&](std::string_view run, bool) {
    std::vector<std::string_view> parts;
    SplitGpt2(run, parts);
    for (const std::string_view part : parts) SplitRuns(part, is_number, numbers);
  };
  SplitRuns(text, IsDefaultPunctuation, pieces);
}

}  // namespace

std::optional<PreTokenizer> ParsePreTokenizer(std::string_view name) {
  if (name == "llama-bpe" || name == "llama-v3" || name == "llama3") return PreTokenizer::kLlama;
  if (name == "qwen2" || name == "deepseek-r1-qwen") return PreTokenizer::kQwen2;
  if (name == "gpt-2") return PreTokenizer::kGpt2;
  if (name == "default") return PreTokenizer::kDefault;
  return std::nullopt;
}

std::string_view SupportedPreTokenizers() { return "llama-bpe, qwen2, gpt-2, default"; }

std::vector<std::string_view> SplitWords(std::string_view text, PreTokenizer kind) {
  std::vector<std::string_view> words;
  words.reserve(text.size() / 4);
  if (kind == PreTokenizer::kGpt2) {
    SplitGpt2(text, words);
  } else if (kind == PreTokenizer::kDefault) {
    SplitDefault(text, words);
  } else {
    const size_t max_digits = kind == PreTokenizer::kLlama ? 3 : 1;
    for (size_t start = 0; start < text.size();) {
      const size_t end = LlamaWordEnd(text, start, max_digits);
      words.push_back(text.substr(start, end - start));
      start = end;
    }
  }
  return words;
}

}  // namespace lorikeet
