#include "simulations/retrieval/retrieval_data.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/vault/text_index.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr size_t kTellingBytes = 40;  // longer messages are no coincidence
constexpr double kCommonShare = 0.05;

struct Sample {
  std::string user, split, text, context;
  int64_t conversation = 0;  // negative: the set has none, and this is the sample's own
};

std::string StringOf(const json& line, const char* key) {
  return line.contains(key) && line[key].is_string() ? line[key].get<std::string>() : "";
}

absl::StatusOr<std::vector<json>> ReadLines(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  std::vector<json> lines;
  size_t number = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view line = std::string_view(bytes).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.empty()) continue;
    json parsed = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_object() || StringOf(parsed, "user").empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", number, ": expected an object with \"user\", got something else"));
    }
    lines.push_back(std::move(parsed));
  }
  return lines;
}

absl::StatusOr<std::vector<Sample>> ReadSamples(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<json> lines, ReadLines(path));
  std::vector<Sample> samples;
  for (const json& line : lines) {
    const json number = line.value("conv", json());
    const int64_t conversation = number.is_number_integer()
                                     ? number.get<int64_t>()
                                     : -1 - static_cast<int64_t>(samples.size());
    samples.push_back({.user = StringOf(line, "user"),
                       .split = StringOf(line, "split"),
                       .text = StringOf(line, "text"),
                       .context = StringOf(line, "context"),
                       .conversation = conversation});
  }
  return samples;
}

using WordSet = std::set<std::string, std::less<>>;

void AddWords(std::string_view text, WordSet* words) {
  for (ContentWord& word : ContentWords(text)) words->insert(std::move(word.word));
}

// Numbers of held-out samples' conversations that a training split may have shown; where a set has
// no conversations each sample is one, and only its own text tells.
std::set<std::pair<std::string, int64_t>> LeakyConversations(std::span<const Sample> samples,
                                                             bool conversations) {
  std::set<std::string, std::less<>> seen;
  for (const Sample& sample : samples) {
    if (sample.split != "train") continue;
    if (sample.text.size() > kTellingBytes) seen.insert(sample.text);
    if (conversations && sample.context.size() > kTellingBytes) seen.insert(sample.context);
  }
  std::set<std::pair<std::string, int64_t>> leaky;
  for (const Sample& sample : samples) {
    if (sample.split != "test") continue;
    if (seen.contains(sample.text) || (conversations && seen.contains(sample.context))) {
      leaky.insert({sample.user, sample.conversation});
    }
  }
  return leaky;
}

// The text cut at the space next to its middle.
HeldOutText CutInHalf(std::string_view text) {
  const size_t middle = text.find(' ', text.size() / 2);
  if (middle == std::string_view::npos) return {};
  return {.before = std::string(text.substr(0, middle)),
          .text = std::string(text.substr(middle)),
          .continues = true,
          .facts = {}};
}

std::string_view Shorten(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  const size_t space = text.rfind(' ', limit);
  size_t end = space == std::string_view::npos || space == 0 ? limit : space;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

HeldOutText MakeHeldOut(const Sample& sample, bool chat, size_t limit) {
  const std::string_view text = Shorten(sample.text, limit);
  if (!chat) return CutInHalf(text);
  return {.before = std::string(Shorten(sample.context, limit)),
          .text = std::string(text),
          .facts = {}};
}

// At most `count` of them, evenly.
void Thin(size_t count, std::vector<HeldOutText>* texts) {
  if (texts->size() <= count) return;
  std::vector<HeldOutText> kept;
  for (size_t i = 0; i < count; ++i) kept.push_back(std::move((*texts)[i * texts->size() / count]));
  *texts = std::move(kept);
}

// Everything known of one user before facts are marked.
struct Person {
  RetrievalUser user;
  std::vector<std::string> sentences;
  WordSet vault_words, fact_words;  // fact_words: of the sentences, or of the vault
};

class Reader {
 public:
  explicit Reader(const RetrievalDataOptions& options) : options_(options), rng_(options.seed) {}

  absl::StatusOr<RetrievalData> Read(const std::string& path);

 private:
  void AddPeople(std::span<const Sample> samples, RetrievalData* data);
  void TrimVault(RetrievalUser* user) const;
  void CountWords();
  bool IsFact(const Person& person, const std::string& word) const;
  void MarkFacts(Person* person) const;
  void AskQuestions(size_t index);
  std::vector<std::string> OtherSentences(size_t index, const std::string& truth);

  RetrievalDataOptions options_;
  Rng rng_;
  std::vector<Person> people_;
  std::map<std::string, int, std::less<>> holders_;  // users whose fact_words hold it
};

void Reader::AddPeople(std::span<const Sample> samples, RetrievalData* data) {
  const bool chat =
      std::ranges::any_of(samples, [](const Sample& s) { return !s.context.empty(); });
  const bool conversations =
      std::ranges::any_of(samples, [](const Sample& s) { return s.conversation >= 0; });
  const auto leaky = LeakyConversations(samples, conversations);
  for (const Sample& sample : samples) {
    if (people_.empty() || people_.back().user.name != sample.user) {
      people_.emplace_back().user.name = sample.user;
    }
    RetrievalUser& user = people_.back().user;
    if (sample.split == "train") {
      user.vault.push_back({sample.context, sample.text});
    } else if (sample.split == "test") {
      if (leaky.contains({sample.user, sample.conversation})) {
        ++data->leaky_texts;
        continue;
      }
      HeldOutText text = MakeHeldOut(sample, chat, options_.text_bytes);
      if (!text.before.empty() && text.text.size() >= 8) user.held_out.push_back(std::move(text));
    }
  }
  std::erase_if(people_, [](const Person& person) {
    return person.user.vault.empty() || person.user.held_out.empty();
  });
}

void Reader::TrimVault(RetrievalUser* user) const {
  size_t bytes = 0, first = user->vault.size();
  while (first > 0 && bytes + user->vault[first - 1].text.size() <= options_.vault_bytes) {
    bytes += user->vault[--first].text.size();
  }
  if (first == user->vault.size()) --first;  // one text at least
  user->vault.erase(user->vault.begin(), user->vault.begin() + static_cast<ptrdiff_t>(first));
}

void Reader::CountWords() {
  for (Person& person : people_) {
    for (const VaultMessage& message : person.user.vault) {
      AddWords(message.text, &person.vault_words);
    }
    for (const std::string& sentence : person.sentences) AddWords(sentence, &person.fact_words);
    if (person.sentences.empty()) person.fact_words = person.vault_words;
    for (const std::string& word : person.fact_words) ++holders_[word];
  }
}

bool Reader::IsFact(const Person& person, const std::string& word) const {
  if (!person.fact_words.contains(word) || !person.vault_words.contains(word)) return false;
  const int others = holders_.at(word) - 1;
  return others <= kCommonShare * static_cast<double>(people_.size());
}

void Reader::MarkFacts(Person* person) const {
  for (HeldOutText& text : person->user.held_out) {
    WordSet asked;
    AddWords(text.before, &asked);
    for (const ContentWord& word : ContentWords(text.text)) {
      if (IsFact(*person, word.word) && !asked.contains(word.word)) {
        text.facts.push_back({word.begin, word.end});
      }
    }
  }
}

std::vector<std::string> Reader::OtherSentences(size_t index, const std::string& truth) {
  WordSet taken;
  AddWords(truth, &taken);
  std::vector<std::string> others;
  for (int tries = 0; tries < 1000 && static_cast<int>(others.size()) < options_.candidates - 1;
       ++tries) {
    const size_t who = rng_.Below(people_.size());
    if (who == index || people_[who].sentences.empty()) continue;
    const auto& sentences = people_[who].sentences;
    const std::string& sentence = sentences[rng_.Below(sentences.size())];
    const std::vector<ContentWord> words = ContentWords(sentence);
    const bool shares = std::ranges::any_of(
        words, [&](const ContentWord& word) { return taken.contains(word.word); });
    if (!words.empty() && !shares && std::ranges::find(others, sentence) == others.end()) {
      others.push_back(sentence);
    }
  }
  return others;
}

// One question for every persona sentence that some held-out answer recalls: what stood before it.
void Reader::AskQuestions(size_t index) {
  Person& person = people_[index];
  for (const std::string& sentence : person.sentences) {
    WordSet facts;
    for (const ContentWord& word : ContentWords(sentence)) {
      if (IsFact(person, word.word)) facts.insert(word.word);
    }
    for (const HeldOutText& text : person.user.held_out) {
      const bool recalls = std::ranges::any_of(text.facts, [&](const HeldOutText::Range& range) {
        const auto words =
            ContentWords(std::string_view(text.text).substr(range.begin, range.end - range.begin));
        return facts.contains(words[0].word);
      });
      if (!recalls) continue;
      FactQuestion question{.before = text.before, .sentences = {sentence}};
      for (std::string& other : OtherSentences(index, sentence)) {
        question.sentences.push_back(std::move(other));
      }
      if (static_cast<int>(question.sentences.size()) == options_.candidates) {
        person.user.questions.push_back(std::move(question));
      }
      break;
    }
  }
}

absl::StatusOr<RetrievalData> Reader::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Sample> samples, ReadSamples(path));
  RetrievalData data;
  AddPeople(samples, &data);
  if (people_.size() < 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected at least 4 users with text of both splits, got ", people_.size()));
  }
  const std::string users_path = path.substr(0, path.rfind('/') + 1) + "users.jsonl";
  std::map<std::string, std::vector<std::string>> sentences;
  if (FileExists(users_path)) {
    ASSIGN_OR_RETURN(const std::vector<json> users, ReadLines(users_path));
    for (const json& user : users) {
      if (!user.contains("persona") || !user["persona"].is_array()) continue;
      for (const json& sentence : user["persona"]) {
        if (sentence.is_string()) sentences[StringOf(user, "user")].push_back(sentence);
      }
    }
  }
  for (Person& person : people_) {
    person.sentences = sentences[person.user.name];
    TrimVault(&person.user);
  }
  CountWords();
  for (size_t i = 0; i < people_.size(); ++i) {
    MarkFacts(&people_[i]);
    AskQuestions(i);
  }
  const size_t wanted = options_.users > 0 ? static_cast<size_t>(options_.users) : people_.size();
  const size_t count = std::min(wanted, people_.size());
  for (size_t i = 0; i < count; ++i) {
    RetrievalUser& user = people_[i * people_.size() / count].user;
    Thin(static_cast<size_t>(options_.texts), &user.held_out);
    data.held_out_texts += static_cast<int64_t>(user.held_out.size());
    data.has_questions |= !user.questions.empty();
    data.users.push_back(std::move(user));
  }
  return data;
}

}  // namespace

std::vector<ContentWord> ContentWords(std::string_view text) {
  std::vector<ContentWord> words;
  for (size_t i = 0; i <= text.size(); ++i) {
    const size_t begin = i;
    const auto in_word = [&](size_t at) {
      return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) ||
                                  static_cast<unsigned char>(text[at]) >= 0x80);
    };
    while (in_word(i)) ++i;
    if (i - begin < 3) continue;
    std::string word = absl::AsciiStrToLower(ToAbsl(text.substr(begin, i - begin)));
    if (IsStopWord(word)) continue;
    if (word.size() > 3 && word.back() == 's') word.pop_back();
    words.push_back({.word = std::move(word), .begin = begin, .end = i});
  }
  return words;
}

absl::StatusOr<RetrievalData> ReadRetrievalData(const std::string& samples_path,
                                                const RetrievalDataOptions& options) {
  return Reader(options).Read(samples_path);
}

}  // namespace lorikeet
