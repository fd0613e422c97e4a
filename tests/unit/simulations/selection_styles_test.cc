#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "simulations/selection/styles.h"
#include "simulations/selection/word_classifier.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;

double MeanWords(const std::vector<std::string>& documents) {
  double words = 0;
  for (const std::string& document : documents) {
    words += static_cast<double>(ClassifierWords(document).size());
  }
  return words / static_cast<double>(documents.size());
}

TEST(StylesTest, AreAllPairsOfLengthRegisterAndTone) {
  std::set<std::string> ids;
  std::map<int, int> tones;
  for (const SyntheticStyle& style : SyntheticStyles()) {
    ids.insert(style.id);
    ++tones[style.tone];
    EXPECT_LE(style.id.size(), 32u);
  }
  EXPECT_EQ(ids.size(), 28u);
  EXPECT_EQ(tones.size(), 7u);
  for (const auto& [tone, count] : tones) EXPECT_EQ(count, 4) << tone;
}

TEST(StylesTest, SameSeedSameTextOtherSeedOtherText) {
  for (const SyntheticStyle& style : SyntheticStyles()) {
    const auto documents = WriteDocuments(style, 30, 5);
    EXPECT_EQ(documents, WriteDocuments(style, 30, 5));
    EXPECT_NE(documents, WriteDocuments(style, 30, 6));
    for (const std::string& document : documents) EXPECT_FALSE(document.empty());
  }
}

// What an owner writes is not what the persona was trained on.
TEST(StylesTest, HeldOutTextSeldomRepeatsSeedText) {
  for (const SyntheticStyle& style : SyntheticStyles()) {
    const auto seed = WriteDocuments(style, 120, 2);
    const std::set<std::string> known(seed.begin(), seed.end());
    int repeated = 0;
    for (const std::string& document : WriteDocuments(style, 80, 3)) {
      repeated += known.contains(document) ? 1 : 0;
    }
    EXPECT_LE(repeated, 8) << style.id;
  }
}

TEST(StylesTest, FactorsShow) {
  for (const SyntheticStyle& style : SyntheticStyles()) {
    const auto documents = WriteDocuments(style, 200, 1);
    int apostrophes = 0, lower = 0;
    for (const std::string& document : documents) {
      apostrophes += document.find("n't") != std::string::npos ? 1 : 0;
      lower += document.front() >= 'a' && document.front() <= 'z' ? 1 : 0;
    }
    if (style.length == StyleLength::kShort) {
      EXPECT_LT(MeanWords(documents), 17) << style.id;
    }
    if (style.length == StyleLength::kLong) {
      EXPECT_GT(MeanWords(documents), 30) << style.id;
    }
    if (style.speech == StyleRegister::kFormal) {
      EXPECT_EQ(lower, 0) << style.id;
      EXPECT_LT(apostrophes, 12) << style.id;
    } else {
      EXPECT_GT(lower, 80) << style.id;
    }
  }
}

// The task is neither trivial nor hopeless for words alone.
TEST(StylesTest, WordsTellTonesFromManyExamplesAndNotFromOne) {
  std::vector<std::vector<std::string>> classes;
  const auto styles = SyntheticStyles();
  for (const SyntheticStyle& style : styles) classes.push_back(WriteDocuments(style, 120, 2));
  const WordClassifier classifier = WordClassifier::Train(classes);
  int one = 0, twenty = 0;
  for (size_t k = 0; k < styles.size(); ++k) {
    const auto held_out = WriteDocuments(styles[k], 20, 3);
    const std::vector<std::string_view> views(held_out.begin(), held_out.end());
    for (const std::string_view view : views) {
      one += classifier.Classify({&view, 1}) == static_cast<int>(k) ? 1 : 0;
    }
    twenty += classifier.Classify(views) == static_cast<int>(k) ? 1 : 0;
  }
  EXPECT_GE(twenty, 25);
  EXPECT_GT(one, 20 * 28 / 5);
  EXPECT_LT(one, 20 * 28 * 4 / 5);
}

TEST(WordClassifierTest, SplitsWordsAndMarks) {
  EXPECT_THAT(ClassifierWords("Don't STOP!! At 9:30 😊"),
              ElementsAre("don't", "stop", "!!", "at", "9", ":", "30", "😊"));
  EXPECT_THAT(ClassifierWords("  "), ElementsAre());
}

TEST(WordClassifierTest, LearnsWordsAndLengths) {
  const std::vector<std::vector<std::string>> classes = {
      {"tea and cake", "cake with tea", "tea tea"},
      {"nuts and bolts", "bolts with nuts", "nuts nuts"},
      {"nuts and bolts and nuts and bolts and nuts and bolts and more of the bolts and the nuts"}};
  const WordClassifier classifier = WordClassifier::Train(classes);
  const std::string_view tea = "some tea", nuts = "some nuts",
                         many = "bolts and bolts and nuts and bolts and nuts and the nuts and more";
  EXPECT_EQ(classifier.Classify({&tea, 1}), 0);
  EXPECT_EQ(classifier.Classify({&nuts, 1}), 1);
  EXPECT_EQ(classifier.Classify({&many, 1}), 2);
}

}  // namespace
}  // namespace lorikeet
