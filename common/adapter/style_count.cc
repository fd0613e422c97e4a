// Counting: from documents to StyleStatistics.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "common/adapter/style_card.h"
#include "common/adapter/style_features.h"
#include "common/adapter/style_match.h"

namespace lorikeet {
namespace {

constexpr int kRichnessWindow = 40;

// Next code point; a byte that begins no valid UTF-8 sequence counts as U+FFFD and one byte.
char32_t NextCodePoint(std::string_view text, size_t* position) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t begin = *position;
  const unsigned char lead = byte(begin);
  *position = begin + 1;
  if (lead < 0x80) return lead;
  const int length = lead >= 0xF0 && lead < 0xF5   ? 4
                     : lead >= 0xE0 && lead < 0xF0 ? 3
                     : lead >= 0xC2 && lead < 0xE0 ? 2
                                                   : 0;
  if (length == 0 || begin + length > text.size()) return 0xFFFD;
  char32_t value = lead & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    if ((byte(begin + i) & 0xC0) != 0x80) return 0xFFFD;
    value = (value << 6) | (byte(begin + i) & 0x3F);
  }
  *position = begin + length;
  return value;
}

bool IsAsciiLetter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsUpper(char32_t c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char32_t c) { return c >= '0' && c <= '9'; }
bool IsSpace(char32_t c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == 0xA0; }
bool IsEmoji(char32_t c) { return (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x2600 && c <= 0x27BF); }
bool IsLetter(char32_t c) {
  return IsAsciiLetter(c) ||
         (c >= 0xC0 && c != 0xD7 && c != 0xF7 && !(c >= 0x2000 && c <= 0x2BFF) &&
          !(c >= 0x3000 && c <= 0x303F) && !IsEmoji(c) && c != 0xFE0F);
}
char32_t Lower(char32_t c) { return IsUpper(c) ? c + 32 : c; }

void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (c >> 6)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (c >> 12)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (c >> 18)));
    out->push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

// Mean and spread of log2(1 + length).
struct Lengths {
  double sum = 0, log_sum = 0, log_square_sum = 0;
  int64_t count = 0;
  void Add(double length) {
    const double log = std::log2(1 + length);
    sum += length;
    log_sum += log;
    log_square_sum += log * log;
    ++count;
  }
  double LogMean() const { return count > 0 ? std::log2(1 + sum / static_cast<double>(count)) : 0; }
  double LogSpread() const {
    if (count < 2) return 0;
    const double n = static_cast<double>(count);
    return std::sqrt(std::max(0.0, log_square_sum / n - (log_sum / n) * (log_sum / n)));
  }
};

class Counter {
 public:
  void AddDocument(std::string_view document);
  StyleStatistics Finish(int64_t document_count);

 private:
  struct Word {
    std::u32string letters;  // as written
    bool after_hyphen = false;
  };
  void AddWord(const Word& word);
  void AddWordLists(const std::string& lower);
  void AddMark(const std::u32string& text, size_t i);
  size_t AddEmoticon(const std::u32string& text, size_t i);
  void EndSentence();
  void AddSketch(std::string_view document);
  void AddRichness(const std::string& lower);
  double& At(StyleForm form) { return counts_[static_cast<size_t>(form)]; }

  std::array<double, kStyleFormCount> counts_ = {};
  std::map<std::string_view, int64_t> function_words_ = [] {
    std::map<std::string_view, int64_t> counts;
    for (std::string_view word : StyleFunctionWords()) counts[word] = 0;
    return counts;
  }();
  std::vector<double> sketch_ = std::vector<double>(kStyleSketchBins, 0.0);
  int64_t features_ = 0;
  double lengths_ = 0, length_squares_ = 0;
  int64_t lengths_seen_ = 0;
  Lengths entries_, sentences_;
  int64_t words_ = 0, alphabetic_words_ = 0, letters_ = 0, upper_ = 0, foreign_ = 0;
  int64_t short_words_ = 0, long_words_ = 0, sentences_lower_ = 0, sentences_seen_ = 0;
  int64_t entries_seen_ = 0, entries_open_ = 0, document_words_ = 0, sentence_words_ = 0;
  bool sentence_lower_ = false;
  std::vector<std::string> window_;
  double richness_sum_ = 0;
  int64_t richness_windows_ = 0;
};

void Counter::AddWordLists(const std::string& lower) {
  const auto has = [&](StyleWordList list) { return InStyleWordList(list, lower); };
  if (has(StyleWordList::kAbbreviation)) ++At(StyleForm::kAbbreviation);
  if (has(StyleWordList::kDialect) || lower.ends_with("in'")) ++At(StyleForm::kDialect);
  if (has(StyleWordList::kCourtesy)) ++At(StyleForm::kCourtesy);
  if (has(StyleWordList::kIntensifier)) ++At(StyleForm::kIntensifier);
  if (has(StyleWordList::kFirstPerson)) ++At(StyleForm::kFirstPerson);
  if (has(StyleWordList::kSecondPerson)) ++At(StyleForm::kSecondPerson);
  if (has(StyleWordList::kThirdPerson)) ++At(StyleForm::kThirdPerson);
  if (has(StyleWordList::kPast) || (lower.size() > 4 && lower.ends_with("ed"))) {
    ++At(StyleForm::kPastTense);
  }
  if (lower == "the" || lower == "a" || lower == "an") ++At(StyleForm::kArticle);
  if (auto it = function_words_.find(lower); it != function_words_.end()) ++it->second;
}

void Counter::AddRichness(const std::string& lower) {
  window_.push_back(lower);
  if (window_.size() < kRichnessWindow) return;
  std::ranges::sort(window_);
  const auto duplicates = std::ranges::unique(window_);
  richness_sum_ += 1.0 - static_cast<double>(duplicates.size()) / kRichnessWindow;
  ++richness_windows_;
  window_.clear();
}

void Counter::AddWord(const Word& word) {
  ++words_;
  ++document_words_;
  ++sentence_words_;
  int64_t letters = 0, upper = 0, run = 1, longest_run = 1;
  bool apostrophe_inside = false;
  std::string lower;
  for (size_t i = 0; i < word.letters.size(); ++i) {
    const char32_t c = word.letters[i];
    if (IsLetter(c)) {
      ++letters;
      if (IsUpper(c)) ++upper;
      if (!IsAsciiLetter(c)) ++foreign_;
    }
    if (c == '\'' && i > 0 && i + 1 < word.letters.size()) apostrophe_inside = true;
    run = i > 0 && IsLetter(c) && Lower(c) == Lower(word.letters[i - 1]) ? run + 1 : 1;
    longest_run = std::max(longest_run, run);
    AppendUtf8(Lower(c), &lower);
  }
  if (sentence_words_ == 1) {
    ++sentences_seen_;
    sentence_lower_ = word.letters[0] >= 'a' && word.letters[0] <= 'z';
    if (sentence_lower_) ++sentences_lower_;
  }
  if (IsDigit(word.letters[0])) {
    ++At(StyleForm::kNumber);
  } else {
    ++alphabetic_words_;
    letters_ += letters;
    upper_ += upper;
    if (letters <= 3) ++short_words_;
    if (letters >= 8) ++long_words_;
    if (letters >= 2 && upper == letters) ++At(StyleForm::kShout);
    AddRichness(lower);
  }
  if (longest_run >= 3) ++At(StyleForm::kElongation);
  if (apostrophe_inside) ++At(StyleForm::kContraction);
  AddWordLists(lower);
}

void Counter::EndSentence() {
  if (sentence_words_ > 0) sentences_.Add(static_cast<double>(sentence_words_));
  sentence_words_ = 0;
}

// Punctuation at i; runs like "!!" and "..." are seen at their second character.
void Counter::AddMark(const std::u32string& text, size_t i) {
  const char32_t c = text[i];
  const char32_t before = i > 0 ? text[i - 1] : 0;
  const char32_t after = i + 1 < text.size() ? text[i + 1] : 0;
  switch (c) {
    case ',':
      ++At(StyleForm::kComma);
      break;
    case '.':
      if (before == '.' && after == '.') ++At(StyleForm::kEllipsis);
      if (before != '.' && after != '.') ++At(StyleForm::kPeriod);
      if (!IsDigit(after) && !IsLetter(after)) EndSentence();
      break;
    case 0x2026:
      ++At(StyleForm::kEllipsis);
      break;
    case '!':
      ++At(StyleForm::kExclamation);
      EndSentence();
      break;
    case '?':
      ++At(StyleForm::kQuestion);
      EndSentence();
      break;
    case ';':
      ++At(StyleForm::kSemicolon);
      break;
    case ':':
      if (!IsDigit(before) || !IsDigit(after)) ++At(StyleForm::kColon);
      break;
    case '"':
    case 0x201C:
    case 0x201D:
      ++At(StyleForm::kQuote);
      break;
    case '(':
    case '[':
      ++At(StyleForm::kBracket);
      break;
    case 0x2013:
    case 0x2014:
      ++At(StyleForm::kDash);
      break;
    case '-':
      if (after == '-' || (IsSpace(before) && IsSpace(after))) ++At(StyleForm::kDash);
      break;
    case '\n':
      ++At(StyleForm::kLineBreak);
      EndSentence();
      break;
    default:
      if (IsEmoji(c)) ++At(StyleForm::kEmoticon);
      break;
  }
  if ((c == '!' || c == '?') && c == before && after != c) ++At(StyleForm::kElongation);
}

// Length of an emoticon such as :) ;-P <3 that stands alone at i, or 0.
size_t Counter::AddEmoticon(const std::u32string& text, size_t i) {
  if (i > 0 && !IsSpace(text[i - 1])) return 0;
  constexpr std::u32string_view kEyes = U":;=8xX", kMouths = U")(DPpoO/|][*3";
  size_t length = 0;
  if (text[i] == '<' && i + 1 < text.size() && text[i + 1] == '3') {
    length = 2;
  } else if (kEyes.find(text[i]) != std::u32string_view::npos) {
    size_t mouth = i + 1;
    if (mouth < text.size() && (text[mouth] == '-' || text[mouth] == '\'')) ++mouth;
    if (mouth < text.size() && kMouths.find(text[mouth]) != std::u32string_view::npos)
      length = mouth + 1 - i;
  }
  if (length == 0) return 0;
  // "8pm" and "xx" are no faces: the face must end at a space, an end or closing punctuation.
  const size_t end = i + length;
  if (end < text.size() && (IsLetter(text[end]) || IsDigit(text[end]) || IsDigit(text[i])))
    return 0;
  if (IsLetter(text[i]) && IsLetter(text[end - 1]) && text[end - 1] != 'D') return 0;
  ++At(StyleForm::kEmoticon);
  return length;
}

void Counter::AddSketch(std::string_view document) {
  const DocumentSketch sketch = SketchDocument(document);
  for (uint16_t feature : sketch.features) {
    sketch_[feature] += 1;
    ++features_;
  }
  if (sketch.log_words <= 0) return;
  lengths_ += sketch.log_words;
  length_squares_ += sketch.log_words * sketch.log_words;
  ++lengths_seen_;
}

// 09:30, 7.15 or 09h30 as a whole; returns its length or 0.
size_t TimestampLength(const std::u32string& text, size_t i) {
  size_t j = i;
  while (j < text.size() && IsDigit(text[j])) ++j;
  if (j == i || j - i > 2 || j + 2 >= text.size()) return 0;
  if (text[j] != ':' && text[j] != '.' && text[j] != 'h') return 0;
  if (!IsDigit(text[j + 1]) || !IsDigit(text[j + 2])) return 0;
  if (j + 3 < text.size() && IsDigit(text[j + 3])) return 0;
  return j + 3 - i;
}

void Counter::AddDocument(std::string_view document) {
  std::u32string text = DecodeStyleText(document);
  while (!text.empty() && IsSpace(text.back())) text.pop_back();
  if (text.empty()) return;
  ++entries_seen_;
  document_words_ = 0;
  AddSketch(document);
  for (size_t i = 0; i < text.size();) {
    if (size_t face = AddEmoticon(text, i); face > 0) {
      i += face;
      continue;
    }
    const bool opens = IsLetter(text[i]) || IsDigit(text[i]) ||
                       (text[i] == '\'' && i + 1 < text.size() && IsLetter(text[i + 1]));
    if (!opens) {
      AddMark(text, i++);
      continue;
    }
    Word word;
    size_t end = i + TimestampLength(text, i);
    if (end > i) {
      ++At(StyleForm::kTimestamp);
    } else {
      while (end < text.size() && (IsLetter(text[end]) || IsDigit(text[end]) || text[end] == '\''))
        ++end;
    }
    word.letters = text.substr(i, end - i);
    AddWord(word);
    i = end;
  }
  EndSentence();
  entries_.Add(static_cast<double>(document_words_));
  constexpr std::u32string_view kClosed = U".!?\")'";
  if (kClosed.find(text.back()) == std::u32string_view::npos) ++entries_open_;
}

double Round(double value) { return std::round(value * 1e5) / 1e5; }

StyleStatistics Counter::Finish(int64_t document_count) {
  const auto share = [](int64_t part, int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  const double hundreds = std::max<double>(1, static_cast<double>(words_)) / 100.0;
  StyleStatistics result;
  result.document_count = document_count;
  result.word_count = words_;
  for (double count : counts_) result.form.push_back(std::sqrt(count / hundreds));
  const auto set = [&](StyleForm form, double value) {
    result.form[static_cast<size_t>(form)] = value;
  };
  set(StyleForm::kEntryWords, entries_.LogMean());
  set(StyleForm::kEntrySpread, entries_.LogSpread());
  set(StyleForm::kSentenceWords, sentences_.LogMean());
  set(StyleForm::kSentenceSpread, sentences_.LogSpread());
  set(StyleForm::kWordLetters, share(letters_, alphabetic_words_));
  set(StyleForm::kShortWords, share(short_words_, alphabetic_words_));
  set(StyleForm::kLongWords, share(long_words_, alphabetic_words_));
  // Under one window nothing is known: the value of typical prose, so that short texts are not
  // called repetitive.
  set(StyleForm::kRichness,
      richness_windows_ > 0 ? richness_sum_ / static_cast<double>(richness_windows_) : 0.8);
  set(StyleForm::kUpperLetters, share(upper_, letters_));
  set(StyleForm::kLowerStart, share(sentences_lower_, sentences_seen_));
  set(StyleForm::kOpenEnd, share(entries_open_, entries_seen_));
  set(StyleForm::kForeign, share(foreign_, letters_));
  for (std::string_view word : StyleFunctionWords()) {
    result.words.push_back(Round(std::sqrt(static_cast<double>(function_words_[word]) / hundreds)));
  }
  for (double& value : result.form) value = Round(value);
  result.sketch = sketch_;
  result.feature_count = features_;
  if (lengths_seen_ > 0) {
    const auto n = static_cast<double>(lengths_seen_);
    const double mean = lengths_ / n;
    result.length = {.mean = Round(mean),
                     .spread = Round(std::sqrt(std::max(0.0, length_squares_ / n - mean * mean)))};
  }
  for (double& value : result.sketch) {
    value = RoundShare(value / std::max<double>(1, static_cast<double>(features_)));
  }
  return result;
}

}  // namespace

std::u32string DecodeStyleText(std::string_view text) {
  std::u32string decoded;
  for (size_t position = 0; position < text.size();) {
    const char32_t c = NextCodePoint(text, &position);
    decoded.push_back(c == 0x2019 || c == 0x2018 ? U'\'' : c);
  }
  return decoded;
}

bool IsStyleSpace(char32_t c) { return IsSpace(c); }
bool IsStyleLetter(char32_t c) { return IsLetter(c); }
char32_t StyleLower(char32_t c) { return Lower(c); }

StyleStatistics CountStyle(std::span<const std::string_view> documents) {
  Counter counter;
  for (std::string_view document : documents) counter.AddDocument(document);
  return counter.Finish(static_cast<int64_t>(documents.size()));
}

}  // namespace lorikeet
