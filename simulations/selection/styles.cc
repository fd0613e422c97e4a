#include "simulations/selection/styles.h"

#include <algorithm>
#include <cctype>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/strings.h"
#include "simulations/selection/style_tables.h"

namespace lorikeet {
namespace {

// A document's share of style: most are in full style, some hardly.
constexpr double kPlainDocuments = 0.2;
constexpr double kPlainStrength = 0.25;

bool IsLetter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
char Lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }
char Upper(char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); }

class Writer {
 public:
  Writer(const SyntheticStyle& style, uint64_t seed) : style_(style), rng_(seed) {
    if (style.tone >= 0) tone_ = &StyleTones()[static_cast<size_t>(style.tone)];
  }

  std::string Document() {
    strength_ = Chance(kPlainDocuments) ? kPlainStrength : 1.0;
    lower_starts_ = informal() && Chance(0.75 * strength_);
    topic_ = &StyleTopics()[rng_.Below(StyleTopics().size())];
    const int sentences = SentenceCount();
    std::string text;
    for (int i = 0; i < sentences; ++i) {
      if (!text.empty()) text += ' ';
      text += Sentence();
    }
    return text;
  }

 private:
  bool formal() const { return style_.speech == StyleRegister::kFormal; }
  bool informal() const { return style_.speech == StyleRegister::kInformal; }
  bool Chance(double p) { return rng_.Uniform() < p; }

  std::string Pick(std::string_view list) {
    const std::vector<std::string> items = absl::StrSplit(ToAbsl(list), '|');
    std::string item = items[rng_.Below(items.size())];
    for (char& c : item) {
      if (c == '#') c = static_cast<char>('1' + rng_.Below(9));
    }
    return item;
  }

  int SentenceCount() {
    switch (style_.length) {
      case StyleLength::kShort:
        return 1 + (Chance(0.35) ? 1 : 0);
      case StyleLength::kLong:
        return 3 + static_cast<int>(rng_.Below(3));
      case StyleLength::kAny:
        break;
    }
    return 1 + static_cast<int>(rng_.Below(4));
  }

  // "past/base".
  std::pair<std::string, std::string> Verb() {
    const std::string verb = Pick(topic_->verbs);
    const size_t slash = verb.find('/');
    return {verb.substr(0, slash), verb.substr(slash + 1)};
  }
  std::string Adverb() {
    return tone_ != nullptr && Chance(0.15 * strength_) ? Pick(tone_->inserts) + " " : "";
  }
  std::string Did() { return Adverb() + Verb().first + " " + Pick(topic_->things); }
  std::string Do() { return Verb().second + " " + Pick(topic_->things); }

  // A plain sentence in lower case (but for names and I), without an end mark.
  std::string Clause() {
    const GrammarTable& words = StyleGrammar();
    const bool wordy =
        style_.length == StyleLength::kLong || (style_.length == StyleLength::kAny && Chance(0.4));
    switch (rng_.Below(wordy ? 8 : 5)) {
      case 0:
        return absl::StrCat(Pick(words.people), " ", Did(), " ", Pick(words.times));
      case 1:
        return absl::StrCat(Pick(topic_->things), " ", Pick(topic_->states));
      case 2:
        return absl::StrCat(Pick(words.people), " ", Did(), " ", Pick(topic_->places));
      case 3:
        return Pick(words.thoughts);
      case 4:
        return absl::StrCat(Pick(words.times), " ", Pick(words.people), " ", Did());
      case 5:
        return absl::StrCat(Pick(words.people), " wanted to ", Do(), " ", Pick(words.times),
                            ", but ", Pick(words.troubles));
      case 6:
        return absl::StrCat(Pick(words.people), " ", Did(), " ", Pick(topic_->places), " because ",
                            Pick(words.reasons));
      default:
        return absl::StrCat("after ", Pick(words.people), " ", Did(), ", ", Pick(words.people), " ",
                            Did(), " and told me that ", Pick(topic_->things), " ",
                            Pick(topic_->states));
    }
  }

  // Replaces whole phrases, each time with a chance.
  void Replace(std::string* text, std::string_view from, std::string_view to, double chance) {
    if (from == to) return;
    for (size_t at = text->find(from); at != std::string::npos; at = text->find(from, at + 1)) {
      const size_t end = at + from.size();
      const bool whole = (at == 0 || !IsLetter((*text)[at - 1])) &&
                         (end == text->size() || !IsLetter((*text)[end]));
      if (!whole || !Chance(chance)) continue;
      std::string with(to);
      for (char& c : with) {
        if (c == '#') c = static_cast<char>('1' + rng_.Below(9));
      }
      text->replace(at, from.size(), with);
      at += with.size();
    }
  }

  void Reword(std::string* text) {
    if (tone_ != nullptr) {
      for (const auto entry : absl::StrSplit(ToAbsl(tone_->words), '|')) {
        const std::pair<std::string, std::string> word = absl::StrSplit(entry, '>');
        Replace(text, word.first, word.second, 0.6 * strength_);
      }
    }
    if (style_.speech == StyleRegister::kPlain) return;
    for (std::string_view entry : RegisterWords()) {
      const std::vector<std::string> words = absl::StrSplit(ToAbsl(entry), '>');
      Replace(text, words[0], words[formal() ? 1 : 2], 0.65 * strength_);
    }
  }

  void Contract(std::string* text) {
    static constexpr std::pair<std::string_view, std::string_view> kPairs[] = {
        {"did not", "didn't"}, {"do not", "don't"}, {"is not", "isn't"},   {"was not", "wasn't"},
        {"I am", "I'm"},       {"it is", "it's"},   {"that is", "that's"}, {"there is", "there's"},
        {"we are", "we're"},   {"I will", "I'll"},  {"we will", "we'll"},  {"cannot", "can't"}};
    const double chance = informal() ? 0.9 : formal() ? 0.02 : 0.35;
    const bool drop_mark = informal() && Chance(0.35 * strength_);
    for (const auto& [full, contracted] : kPairs) {
      std::string with(contracted);
      if (drop_mark) std::erase(with, '\'');
      Replace(text, full, with, chance);
    }
  }

  void Frame(std::string* text) {
    if (tone_ == nullptr) return;
    if (Chance(0.38 * strength_)) {
      std::string opener = Pick(formal() ? tone_->formal_openers : tone_->informal_openers);
      const bool runs_on = opener.ends_with(" that") || opener.ends_with(" but");
      absl::StrAppend(&opener, runs_on ? " " : ", ", *text);
      *text = std::move(opener);
    }
    if (Chance(0.3 * strength_)) {
      *text += Pick(formal() ? tone_->formal_closers : tone_->informal_closers);
    }
  }

  std::string EndMark() {
    const bool last_left_out = informal() && Chance(0.45 * strength_);
    if (tone_ != nullptr) {
      const double which = rng_.Uniform() / strength_;
      if (which < tone_->exclaim) return informal() && Chance(0.4) ? "!!" : "!";
      if (which < tone_->exclaim + tone_->ask) return "?";
      if (which < tone_->exclaim + tone_->ask + tone_->trail) return "...";
    }
    return last_left_out ? "" : ".";
  }

  // Capital letters after ends of sentences, or none.
  void Case(std::string* text) const {
    bool start = true;
    for (size_t i = 0; i < text->size(); ++i) {
      char& c = (*text)[i];
      if (start && IsLetter(c)) {
        c = lower_starts_ ? Lower(c) : Upper(c);
        start = false;
      } else if (!std::isspace(static_cast<unsigned char>(c)) && c != '.' && c != '"') {
        start = false;
      }
      const bool end =
          (c == '.' || c == '!' || c == '?') && (i + 1 == text->size() || (*text)[i + 1] == ' ');
      if (end) start = true;
      const bool alone = c == 'I' && (i == 0 || !IsLetter((*text)[i - 1])) &&
                         (i + 1 == text->size() || !IsLetter((*text)[i + 1]));
      if (alone && lower_starts_) c = 'i';
    }
  }

  std::string Sentence() {
    std::string text = Clause();
    if (style_.length == StyleLength::kLong && Chance(0.35)) {
      absl::StrAppend(&text, formal() ? "; " : ", and ", Clause());
    }
    Reword(&text);
    Frame(&text);
    Contract(&text);
    text += EndMark();
    Case(&text);
    if (informal() && tone_ != nullptr && !tone_->emoji.empty() && Chance(0.14 * strength_)) {
      absl::StrAppend(&text, " ", Pick(tone_->emoji));
    }
    return text;
  }

  SyntheticStyle style_;
  Rng rng_;
  const ToneTable* tone_ = nullptr;
  const TopicTable* topic_ = nullptr;
  double strength_ = 1;
  bool lower_starts_ = false;
};

}  // namespace

std::vector<SyntheticStyle> SyntheticStyles() {
  struct Half {
    std::string_view name;
    StyleLength length;
    StyleRegister speech;
  };
  static constexpr Half kQuarters[] = {
      {"short-formal", StyleLength::kShort, StyleRegister::kFormal},
      {"long-informal", StyleLength::kLong, StyleRegister::kInformal},
      {"long-formal", StyleLength::kLong, StyleRegister::kFormal},
      {"short-informal", StyleLength::kShort, StyleRegister::kInformal}};
  std::vector<SyntheticStyle> styles;
  const std::span<const ToneTable> tones = StyleTones();
  for (size_t i = 0; i < std::size(kQuarters) * tones.size(); ++i) {
    // 4 and 7 have no common factor: i runs through all pairs.
    const Half& half = kQuarters[i % std::size(kQuarters)];
    const size_t tone = i % tones.size();
    styles.push_back({.id = absl::StrCat(ToAbsl(half.name), "-", ToAbsl(tones[tone].name)),
                      .length = half.length,
                      .speech = half.speech,
                      .tone = static_cast<int>(tone)});
  }
  return styles;
}

SyntheticStyle NeutralStyle() { return {.id = "neutral"}; }

std::vector<std::string> WriteDocuments(const SyntheticStyle& style, int count, uint64_t seed) {
  // Each style has a stream of its own, else all would write of the same things in turn.
  SeededRandom random(absl::StrCat("style ", style.id), seed);
  Writer writer(style, random.Uint64());
  std::vector<std::string> documents;
  for (int i = 0; i < count; ++i) documents.push_back(writer.Document());
  return documents;
}

}  // namespace lorikeet
