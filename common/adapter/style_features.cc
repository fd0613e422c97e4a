#include "common/adapter/style_features.h"

#include <algorithm>
#include <set>

#include "common/adapter/style_card.h"

namespace lorikeet {
namespace {

using WordSet = std::set<std::string_view>;

const WordSet& Words(StyleWordList list) {
  static const auto* const kAbbreviations = new WordSet{
      "2day",  "2moro", "b4",    "bc",    "brb",   "btw",   "cba",    "cos", "cuz", "dm",
      "dunno", "fyi",   "gonna", "gotta", "gr8",   "haha",  "hahaha", "hmu", "idc", "idk",
      "imo",   "irl",   "jk",    "kk",    "l8r",   "lemme", "lmao",   "lmk", "lol", "msg",
      "ngl",   "nah",   "nope",  "np",    "nvm",   "ok",    "omg",    "omw", "pic", "pics",
      "pls",   "plz",   "ppl",   "r",     "rn",    "rofl",  "sos",    "soz", "sry", "tbh",
      "tho",   "thru",  "thx",   "tmrw",  "tomoz", "ttyl",  "ty",     "u",   "ur",  "urs",
      "wanna", "wtf",   "xx",    "xxx",   "ya",    "yea",   "yeah",   "yep", "yup"};
  static const auto* const kDialect = new WordSet{
      "'ee",     "'em",  "'er",   "'im",         "'is",    "'tis",   "'twas",    "'twere",
      "'til",    "'un",  "afore", "agin",        "ain't",  "an'",    "art",      "aye",
      "betwixt", "doth", "ee",    "em",          "folk",   "hath",   "hast",     "hisself",
      "knowed",  "lad",  "lass",  "maister",     "mayhap", "meself", "methinks", "naught",
      "nay",     "nigh", "nowt",  "o'",          "oft",    "owt",    "prithee",  "shalt",
      "summat",  "th'",  "thee",  "theirselves", "thine",  "thou",   "thy",      "thyself",
      "tis",     "twas", "wi'",   "wilt",        "ye",     "yer",    "yon",      "yonder"};
  static const auto* const kCourtesy = new WordSet{
      "accordingly", "acknowledge", "acquaint",  "appreciate",  "assure",       "beg",
      "cordially",   "dear",        "delighted", "desirous",    "enclosed",     "enquire",
      "esteemed",    "faithfully",  "favour",    "furthermore", "gentlemen",    "grateful",
      "gratitude",   "hereby",      "herewith",  "honour",      "hope",         "indebted",
      "kindly",      "madam",       "may",       "moreover",    "obedient",     "oblige",
      "obliged",     "permit",      "pleased",   "pleasure",    "pray",         "regard",
      "regards",     "regret",      "remain",    "respect",     "respectfully", "servant",
      "shall",       "should",      "sincerely", "sir",         "therefore",    "truly",
      "trust",       "upon",        "whereas",   "wish"};
  static const auto* const kIntensifiers = new WordSet{
      "absolute",  "absolutely",  "adore",       "amazing",    "awesome",       "beautiful",
      "best",      "completely",  "delicious",   "divine",     "ecstatic",      "entire",
      "ever",      "every",       "everybody",   "everyone",   "extraordinary", "fabulous",
      "fantastic", "finest",      "gigantic",    "glorious",   "gorgeous",      "greatest",
      "happiest",  "heavenly",    "huge",        "incredible", "incredibly",    "love",
      "loveliest", "lovely",      "magnificent", "marvellous", "most",          "never",
      "perfect",   "perfectly",   "positively",  "really",     "simply",        "so",
      "splendid",  "spectacular", "sublime",     "such",       "super",         "thrilled",
      "thrilling", "totally",     "truly",       "utterly",    "very",          "whole",
      "wonderful"};
  static const auto* const kFirst =
      new WordSet{"i",      "i'd", "i'll", "i'm", "i've", "im",   "me",    "mine",  "my",
                  "myself", "our", "ours", "us",  "we",   "we'd", "we'll", "we're", "we've"};
  static const auto* const kSecond = new WordSet{
      "u", "ur", "ye", "you", "you'd", "you'll", "you're", "you've", "your", "yours", "yourself"};
  static const auto* const kThird =
      new WordSet{"he",  "her",    "hers", "herself", "him",    "himself", "his",        "it",
                  "its", "itself", "she",  "their",   "theirs", "them",    "themselves", "they"};
  static const auto* const kPast = new WordSet{
      "ate",   "became", "began", "brought", "came",  "caught",  "could", "cried", "did",
      "drank", "fell",   "felt",  "found",   "gave",  "got",     "grew",  "had",   "heard",
      "held",  "kept",   "knew",  "laid",    "left",  "lost",    "made",  "met",   "ran",
      "rang",  "rose",   "said",  "sang",    "sat",   "saw",     "sent",  "shook", "shone",
      "slept", "sold",   "spoke", "stood",   "swam",  "thought", "told",  "took",  "was",
      "went",  "were",   "woke",  "wore",    "would", "wrote"};
  switch (list) {
    case StyleWordList::kAbbreviation:
      return *kAbbreviations;
    case StyleWordList::kDialect:
      return *kDialect;
    case StyleWordList::kCourtesy:
      return *kCourtesy;
    case StyleWordList::kIntensifier:
      return *kIntensifiers;
    case StyleWordList::kFirstPerson:
      return *kFirst;
    case StyleWordList::kSecondPerson:
      return *kSecond;
    case StyleWordList::kThirdPerson:
      return *kThird;
    case StyleWordList::kPast:
      return *kPast;
  }
  return *kPast;
}

}  // namespace

const std::array<StyleFormInfo, kStyleFormCount>& StyleFormTable() {
  // "entry_words" and "lower_start" speak as adjectives of the noun, see style_card.cc.
  static constexpr std::array<StyleFormInfo, kStyleFormCount> kTable = {{
      {"entry_words", 0.6, "", ""},
      {"entry_spread", 0.4, "", ""},
      {"sentence_words", 0.4, "long sentences", "short sentences"},
      {"sentence_spread", 0.3, "", ""},
      {"word_letters", 0.25, "long words", "short words"},
      {"short_words", 0.05, "", ""},
      {"long_words", 0.04, "", ""},
      {"richness", 0.03, "a varied vocabulary", "many repeated words"},
      {"comma", 0.6, "many commas", "few commas"},
      {"period", 0.7, "many full stops", "few full stops"},
      {"exclamation", 0.6, "many exclamation marks", ""},
      {"question", 0.6, "many questions", ""},
      {"semicolon", 0.5, "semicolons", ""},
      {"colon", 0.6, "colons", ""},
      {"dash", 0.6, "dashes", ""},
      {"ellipsis", 0.5, "dots that trail off", ""},
      {"quote", 0.7, "quoted speech", ""},
      {"bracket", 0.6, "brackets", ""},
      {"upper_letters", 0.015, "", ""},
      {"lower_start", 0.15, "", ""},
      {"shout", 0.6, "words in capitals", ""},
      {"number", 0.7, "many numbers", ""},
      {"timestamp", 0.6, "times of day", ""},
      {"emoticon", 0.5, "emoticons", ""},
      {"elongation", 0.5, "stretched letters and marks", ""},
      {"contraction", 0.7, "contractions", ""},
      {"abbreviation", 0.6, "chat abbreviations", ""},
      {"dialect", 0.6, "dialect words", ""},
      {"courtesy", 0.7, "courteous phrases", ""},
      {"intensifier", 0.7, "superlatives", ""},
      {"article", 0.6, "", "hardly an article"},
      {"first_person", 0.9, "much in the first person", ""},
      {"second_person", 0.8, "much in the second person", ""},
      {"third_person", 0.8, "much in the third person", ""},
      {"past_tense", 0.8, "much in the past tense", ""},
      {"open_end", 0.15, "entries left without a full stop", ""},
      {"line_break", 0.6, "several lines an entry", ""},
      {"foreign", 0.02, "letters beyond ASCII", ""},
  }};
  return kTable;
}

bool InStyleWordList(StyleWordList list, std::string_view word) {
  return Words(list).contains(word);
}

std::span<const std::string_view> StyleFormNames() {
  static const auto* const kNames = [] {
    auto* names = new std::array<std::string_view, kStyleFormCount>;
    std::ranges::transform(StyleFormTable(), names->begin(), &StyleFormInfo::name);
    return names;
  }();
  return *kNames;
}

std::span<const std::string_view> StyleFunctionWords() {
  static constexpr auto kWords = std::to_array<std::string_view>(
      {"a",   "about", "all", "an",    "and",  "are",  "as",    "at",   "be",   "been",
       "but", "by",    "can", "could", "do",   "for",  "from",  "had",  "has",  "have",
       "he",  "her",   "his", "i",     "if",   "in",   "is",    "it",   "just", "like",
       "me",  "my",    "no",  "not",   "now",  "of",   "on",    "one",  "or",   "our",
       "out", "she",   "so",  "that",  "the",  "then", "there", "they", "this", "to",
       "up",  "was",   "we",  "were",  "what", "when", "which", "will", "with", "you"});
  return kWords;
}

}  // namespace lorikeet
