#include "common/adapter/style_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/strings.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string_view> kNeutral = {
    "The council met on Tuesday to discuss the new road. Most members agreed that it was needed.",
    "A small river runs behind the school, and the children often play there after lunch.",
    "He bought two loaves of bread and a newspaper. The shop was quiet, and the owner was reading.",
    "The train leaves at noon and arrives in the evening. It stops in three towns on the way.",
    "She works in a garden near the station. In summer the beds are full of roses and lavender."};
const std::vector<std::string_view> kTexter = {"omg r u coming tmrw?? lol", "idk, prob not :(",
                                               "k. c u later xx", "soz was asleep haha",
                                               "can u bring the charger pls"};
const std::vector<std::string_view> kOtherTexter = {"lol no way", "r u home yet? im starving",
                                                    "thx m8 :)", "nah cant make it tmrw soz",
                                                    "ok c u there"};
const std::vector<std::string_view> kFormal = {
    "Dear Madam, I have the honour to acknowledge your letter; and I beg to assure you that the "
    "matter, which I regret exceedingly, shall receive my most careful attention.",
    "I remain, Sir, your obedient servant; and I trust that you will permit me to express, upon "
    "behalf of the committee, our sincere gratitude."};

double Form(const StyleStatistics& statistics, std::string_view name) {
  const auto names = StyleFormNames();
  const auto it = std::ranges::find(names, name);
  EXPECT_NE(it, names.end()) << name;
  return statistics.form[static_cast<size_t>(it - names.begin())];
}

double Trait(const StyleCard& card, const StyleBackground& background, std::string_view name) {
  const auto names = StyleTraitNames();
  const auto it = std::ranges::find(names, name);
  EXPECT_NE(it, names.end()) << name;
  return StyleTraits(card.statistics, background)[static_cast<size_t>(it - names.begin())];
}

StyleStatistics Count(std::vector<std::string_view> documents) { return CountStyle(documents); }

TEST(StyleCardTest, CountsWhatItNames) {
  // 10 words, 2 exclamation marks, 1 comma: rates are square roots of counts per 100 words.
  const StyleStatistics s = Count({"Oh, what a day! I never saw such ROSES before!"});
  EXPECT_EQ(s.word_count, 10);
  EXPECT_EQ(s.document_count, 1);
  EXPECT_NEAR(Form(s, "exclamation"), std::sqrt(20.0), 1e-4);
  EXPECT_NEAR(Form(s, "comma"), std::sqrt(10.0), 1e-4);
  EXPECT_NEAR(Form(s, "shout"), std::sqrt(10.0), 1e-4);
  EXPECT_NEAR(Form(s, "entry_words"), std::log2(11.0), 1e-4);
  EXPECT_NEAR(Form(s, "sentence_words"), std::log2(1 + 5.0), 1e-4);
  EXPECT_EQ(Form(s, "emoticon"), 0);
}

TEST(StyleCardTest, SeesTimesNumbersFacesAndDialect) {
  EXPECT_GT(Form(Count({"09:30. Hive 1. Temp 12 C."}), "timestamp"), 0);
  EXPECT_EQ(Form(Count({"He was 12345 days old"}), "timestamp"), 0);
  EXPECT_GT(Form(Count({"see you :) bye"}), "emoticon"), 0);
  EXPECT_GT(Form(Count({"party \xF0\x9F\x8E\x89 time"}), "emoticon"), 0);
  EXPECT_EQ(Form(Count({"at 8pm, max: 3 xx"}), "emoticon"), 0);
  EXPECT_GT(Form(Count({"'tis a-goin' to rain, so it be, and ye knows"}), "dialect"), 0);
  EXPECT_GT(Form(Count({"nooooo way!!"}), "elongation"), 0);
  EXPECT_GT(Form(Count({"first line\nsecond line"}), "line_break"), 0);
}

TEST(StyleCardTest, AnyBytesAreCounted) {
  const StyleStatistics accents = Count({"d\xC3\xA9j\xC3\xA0 vu"});
  EXPECT_EQ(accents.word_count, 2);
  EXPECT_GT(Form(accents, "foreign"), 0);
  for (std::string_view bytes : {"\xFF\xFE\x80", "\xC3", "\xF0\x9F", "\xE2\x82", ""}) {
    const StyleStatistics s = Count({bytes});
    for (double value : s.form) EXPECT_TRUE(std::isfinite(value));
  }
  EXPECT_EQ(CountStyle(std::span<const std::string_view>()).word_count, 0);
}

TEST(StyleCardTest, NearestIsTheSameKindOfWriter) {
  const StyleBackground background = MakeStyleBackground(kNeutral, 30);
  const StyleStatistics texter = CountStyle(kTexter);
  const StyleStatistics other = CountStyle(kOtherTexter);
  const StyleStatistics formal = CountStyle(kFormal);
  EXPECT_EQ(StyleDistance(texter, texter, background), 0);
  EXPECT_DOUBLE_EQ(StyleDistance(texter, formal, background),
                   StyleDistance(formal, texter, background));
  EXPECT_LT(StyleDistance(texter, other, background),
            StyleDistance(texter, formal, background) - 0.1);
  EXPECT_LE(StyleDistance(texter, formal, background), 1);
}

TEST(StyleCardTest, ExplainsInWordsAndTraits) {
  const StyleBackground background = MakeStyleBackground(kNeutral, 30);
  const StyleCard texter = MakeStyleCard(CountStyle(kTexter), background);
  const StyleCard formal = MakeStyleCard(CountStyle(kFormal), background);
  EXPECT_GT(Trait(formal, background, "formal"), 0.3);
  EXPECT_LT(Trait(texter, background, "formal"), -0.3);
  EXPECT_GT(Trait(texter, background, "chatty"), 0.3);
  EXPECT_LT(Trait(texter, background, "long"), 0);
  EXPECT_THAT(texter.sentence, HasSubstr("lower-case messages"));
  EXPECT_THAT(formal.sentence, HasSubstr("letters"));
  const StyleCard other = MakeStyleCard(CountStyle(kOtherTexter), background);
  EXPECT_THAT(SharedTraits(texter.statistics, other.statistics, background, 5),
              HasSubstr("chatty"));
  EXPECT_EQ(SharedTraits(texter.statistics, other.statistics, background, 0), "");
}

TEST(StyleCardTest, ClaimsNothingAboutALanguageItCannotRead) {
  const StyleBackground background = MakeStyleBackground(kNeutral, 30);
  std::string german;
  for (int i = 0; i < 3; ++i) {
    german +=
        "Gestern sind wir mit dem Zug nach Hause gefahren, weil das Wetter schlecht war und "
        "niemand mehr Lust hatte zu laufen. ";
  }
  const std::string_view text = german;
  EXPECT_THAT(MakeStyleCard(CountStyle({&text, 1}), background).sentence, HasSubstr("language"));
  EXPECT_THAT(MakeStyleCard(CountStyle(kFormal), background).sentence,
              testing::Not(HasSubstr("language")));
}

TEST(StyleCardTest, JsonRoundTripIsExactAndSmall) {
  const StyleBackground background = MakeStyleBackground(kNeutral, 30);
  const StyleCard card = MakeStyleCard(CountStyle(kTexter), background);
  const std::string json = StyleCardToJson(card);
  EXPECT_LT(json.size(), 10000u);
  const auto back = StyleCardFromJson(json);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(StyleCardToJson(*back), json);
  EXPECT_EQ(back->statistics.form, card.statistics.form);
  EXPECT_EQ(back->explanation, card.explanation);
  const auto background_back = StyleBackgroundFromJson(StyleBackgroundToJson(background));
  ASSERT_TRUE(background_back.ok()) << background_back.status();
  EXPECT_EQ(background_back->form_spread, background.form_spread);
}

TEST(StyleCardTest, RefusesSentencesThatSteerATerminal) {
  const StyleBackground background = MakeStyleBackground(kNeutral, 30);
  StyleCard card = MakeStyleCard(CountStyle(kTexter), background);
  card.sentence = "short messages, caf\xc3\xa9";
  EXPECT_TRUE(CheckStyleCard(card).ok());
  // As a file would bring it: JSON can spell what its own text may not hold.
  std::string json = StyleCardToJson(card);
  json.replace(json.find("short messages"), 5, "\\u001b");
  const absl::Status status = StyleCardFromJson(json).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(status)),
              HasSubstr("sentence: expected plain text, got control character U+001B"));
  for (const std::string bad : {"two\nlines",
                                "\xc2\x9b"
                                "2J",
                                "\xff", "\xe2\x80\xae"}) {
    card.sentence = bad;
    EXPECT_FALSE(CheckStyleCard(card).ok());
  }
  card.sentence = std::string(401, 'x');
  EXPECT_THAT(std::string(Message(CheckStyleCard(card))), HasSubstr("at most 400 bytes, got 401"));
}

TEST(StyleCardTest, RefusesMalformedJson) {
  const StyleBackground background = MakeStyleBackground(kNeutral, 30);
  const std::string json = StyleCardToJson(MakeStyleCard(CountStyle(kTexter), background));
  for (size_t length : {size_t{0}, size_t{1}, json.size() / 2, json.size() - 1}) {
    EXPECT_FALSE(StyleCardFromJson(json.substr(0, length)).ok()) << length;
  }
  std::string other = json;
  other.replace(other.find("\"version\":2"), 11, "\"version\":9");
  const auto status = StyleCardFromJson(other).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("version"));

  StyleCard card = MakeStyleCard(CountStyle(kTexter), background);
  card.explanation = {std::numeric_limits<double>::quiet_NaN()};
  EXPECT_FALSE(CheckStyleCard(card).ok());
  card.explanation[0] = -1;
  EXPECT_FALSE(CheckStyleCard(card).ok());
  card.explanation.clear();
  EXPECT_TRUE(CheckStyleCard(card).ok());
  card.statistics.sketch.pop_back();
  EXPECT_FALSE(CheckStyleCard(card).ok());
  StyleBackground flat = background;
  flat.form_spread[0] = 0;  // would divide by zero
  EXPECT_FALSE(CheckStyleBackground(flat).ok());
}

}  // namespace
}  // namespace lorikeet
