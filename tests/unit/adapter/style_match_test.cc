// Style evidence: mixtures, strangers, short and empty documents.
#include "common/adapter/style_match.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

// Sentences of one writer from a vocabulary and an ending of its own; deterministic.
std::vector<std::string> Write(const std::vector<std::string>& words, const std::string& ending,
                               int count, uint64_t seed) {
  std::vector<std::string> documents;
  uint64_t state = seed;
  const auto next = [&] {
    return (state = state * 6364136223846793005u + 1442695040888963407u) >> 33;
  };
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (int j = 0; j < 12; ++j) text += (j > 0 ? " " : "") + words[next() % words.size()];
    documents.push_back(text + ending);
  }
  return documents;
}

const std::vector<std::string> kShared = {"the", "house", "and", "we", "went", "to", "see", "it"};
std::vector<std::string> With(std::vector<std::string> own) {
  own.insert(own.end(), kShared.begin(), kShared.end());
  return own;
}
std::vector<std::string> Neutral(int count, uint64_t seed) {
  return Write(With({"was", "a", "day", "long", "of", "in"}), ".", count, seed);
}
std::vector<std::string> Sailor(int count, uint64_t seed) {
  return Write(With({"aye", "matey", "yer", "a-sailin", "o'", "tide"}), "!", count, seed);
}
std::vector<std::string> Texter(int count, uint64_t seed) {
  return Write(With({"lol", "u", "gr8", "omg", "thx", "ur"}), " :)", count, seed);
}

std::vector<std::string_view> Views(const std::vector<std::string>& documents) {
  return {documents.begin(), documents.end()};
}

std::vector<DocumentSketch> Sketches(const std::vector<std::string>& documents) {
  std::vector<DocumentSketch> sketches;
  for (const std::string& document : documents) sketches.push_back(SketchDocument(document));
  return sketches;
}

class StyleMatchTest : public ::testing::Test {
 protected:
  StyleMatchTest() {
    background_ = MakeStyleBackground(Views(Neutral(200, 1)));
    for (const auto& documents : {Sailor(100, 2), Texter(100, 3)}) {
      cards_.push_back(MakeStyleCard(CountStyle(Views(documents)), background_));
      cards_.back().self_evidence = SelfEvidence(Views(documents), background_);
    }
  }
  std::vector<StyleEvidence> Match(const std::vector<std::string>& documents) const {
    const std::vector<const StyleCard*> cards = {&cards_[0], &cards_[1]};
    return StyleMatcher(background_, cards).Match(Sketches(documents));
  }
  static std::vector<std::string> Mixed(std::vector<std::string> own, int count, int neutral) {
    own.resize(static_cast<size_t>(count));
    for (std::string& text : Neutral(neutral, 77)) own.push_back(std::move(text));
    return own;
  }

  StyleBackground background_;
  std::vector<StyleCard> cards_;  // sailor, texter
};

TEST_F(StyleMatchTest, FindsThePersonaInAThirdOfTheDocuments) {
  for (int count : {3, 5, 7, 10}) {
    const auto evidence = Match(Mixed(Sailor(10, 50), count, 10 - count));
    EXPECT_GT(evidence[0].log_evidence, 3) << count;
    EXPECT_GT(evidence[0].log_evidence, evidence[1].log_evidence + 3) << count;
    EXPECT_NEAR(evidence[0].share, count / 10.0, 0.25) << count;
  }
}

TEST_F(StyleMatchTest, NeutralTextSpeaksForNobody) {
  for (const StyleEvidence& evidence : Match(Neutral(12, 5))) {
    EXPECT_LT(evidence.log_evidence, 0);
    EXPECT_LT(evidence.share, 0.3);
  }
}

TEST_F(StyleMatchTest, TypicalityTellsTheOwnFromAStranger) {
  EXPECT_NEAR(Match(Texter(20, 60))[1].typicality, 1, 0.3);
  EXPECT_LT(Match(Texter(20, 60))[0].typicality, 0.5);
  EXPECT_EQ(SelfEvidence(Views(Texter(4, 1)), background_), 0);  // too few to know
}

TEST_F(StyleMatchTest, NothingToReadSaysNothing) {
  for (const StyleEvidence& evidence : Match({"", "   ", "\n"})) {
    EXPECT_NEAR(evidence.log_evidence, 0, 1e-9);
  }
  EXPECT_TRUE(SketchDocument(" \t\n").features.empty());
  EXPECT_NEAR(Match({})[0].log_evidence, 0, 1e-9);
}

TEST_F(StyleMatchTest, StaysFiniteOnHugeAndBrokenDocuments) {
  const std::string huge(200000, 'x');
  for (const std::string& text : {huge, std::string("\xFF\xFE\xC3"), std::string(3, '\0')}) {
    for (const StyleEvidence& evidence : Match({text, text, text})) {
      EXPECT_TRUE(std::isfinite(evidence.log_evidence));
      EXPECT_TRUE(std::isfinite(evidence.typicality));
      EXPECT_GE(evidence.share, 0);
      EXPECT_LE(evidence.share, 1);
    }
  }
}

TEST_F(StyleMatchTest, ACardReadBackGivesTheSameEvidence) {
  const auto back = StyleCardFromJson(StyleCardToJson(cards_[0]));
  ASSERT_TRUE(back.ok()) << back.status();
  const std::vector<const StyleCard*> cards = {&*back, &cards_[1]};
  const auto sketches = Sketches(Mixed(Sailor(10, 50), 5, 5));
  const StyleMatcher matcher(background_, cards);
  EXPECT_EQ(matcher.Match(sketches)[0].log_evidence,
            Match(Mixed(Sailor(10, 50), 5, 5))[0].log_evidence);
}

}  // namespace
}  // namespace lorikeet
