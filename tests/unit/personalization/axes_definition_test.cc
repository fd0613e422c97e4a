#include "device/personalization/axes_definition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "common/adapter/explanation.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "device/personalization/axes_text.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kGood[] = R"(version = 1

[[axis]]
word = "wet"
opposite = "dry"
positive = ["It rains.", "The river rose."]
contrast = ["It is dusty.", "The river fell."]

[[axis]]
word = "loud"
positive = ["BANG!", "He shouted."]
contrast = ["Hush.", "He whispered."]
)";

TEST(AxesDefinitionTest, ReadsWordsAndPrompts) {
  const auto definition = ParseAxesDefinition(kGood, "mine.toml");
  ASSERT_TRUE(definition.ok()) << definition.status();
  ASSERT_EQ(definition->axes.size(), 2u);
  EXPECT_EQ(definition->axes[0].word, "wet");
  EXPECT_EQ(definition->axes[0].opposite, "dry");
  EXPECT_THAT(definition->axes[0].contrast, ElementsAre("It is dusty.", "The river fell."));
  EXPECT_EQ(definition->axes[1].opposite, "");
}

TEST(AxesDefinitionTest, BuiltInAxesAreRich) {
  const AxesDefinition& definition = BuiltInAxes();
  EXPECT_GE(definition.axes.size(), 16u);
  for (const AxisDefinition& axis : definition.axes) {
    EXPECT_GE(axis.positive.size(), 6u) << axis.word;
    EXPECT_EQ(axis.positive.size(), axis.contrast.size()) << axis.word;
  }
  EXPECT_EQ(definition.axes[0].word, "concise");
}

TEST(AxesDefinitionTest, ErrorsNameFileLineAndKey) {
  const auto fails = [](std::string_view from, std::string_view to, const std::string& line,
                        const std::string& key) {
    std::string text = kGood;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const absl::Status status = ParseAxesDefinition(text, "mine.toml").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << to;
    EXPECT_THAT(std::string(Message(status)), AllOf(HasSubstr("mine.toml: line " + line + ": "),
                                                    HasSubstr(key), HasSubstr("expected")));
  };
  fails("version = 1", "version = 2", "1", "version");
  fails("version = 1", "", "1", "version");
  fails("version = 1", "versoin = 1", "1", "versoin");
  fails("word = \"wet\"", "word = wet", "4", "");
  fails("word = \"wet\"", "word = 7", "4", "word");
  fails("word = \"wet\"", "word = \"Wet weather\"", "4", "word");
  fails("word = \"wet\"\n", "", "3", "word");
  fails("word = \"loud\"", "word = \"dry\"", "10", "\"dry\" again");
  fails("opposite", "oposite", "5", "oposite");
  fails("[\"It rains.\", \"The river rose.\"]", "\"It rains.\"", "6", "positive: expected a list");
  fails("[\"It rains.\", \"The river rose.\"]", "[\"It rains.\"]", "6", "positive");
  fails("\"The river rose.\"", "7", "6", "positive");
  fails("\"The river rose.\"", "\"  \"", "6", "positive");
  fails("\"The river rose.\"", "\"" + std::string(501, 'a') + "\"", "6", "501 bytes");
  fails("contrast = [\"Hush.\", \"He whispered.\"]\n", "", "9", "contrast");
  fails("[[axis]]", "[[axes]]", "3", "axes");
  fails("\"BANG!\"", "\"\xFF\xFE\"", "11", "");
}

TEST(AxesDefinitionTest, NothingAndTooMuchAreErrors) {
  EXPECT_FALSE(ParseAxesDefinition("", "mine.toml").ok());
  EXPECT_THAT(std::string(Message(ParseAxesDefinition("version = 1", "mine.toml").status())),
              HasSubstr("axis"));
  EXPECT_THAT(
      std::string(Message(
          ParseAxesDefinition("version = 1\n[axis]\nword = \"wet\"", "mine.toml").status())),
      HasSubstr("line 2: axis: expected at least one table [[axis]]"));
  std::string many = "version = 1\n";
  for (int i = 0; i < 65; ++i) {
    const std::string word(1 + i % 26, static_cast<char>('a' + i / 26));
    many +=
        "[[axis]]\nword = \"" + word + "\"\npositive = [\"a\", \"b\"]\ncontrast = [\"c\", \"d\"]\n";
  }
  EXPECT_THAT(std::string(Message(ParseAxesDefinition(many, "mine.toml").status())),
              HasSubstr("at most 64, got 65"));
  EXPECT_FALSE(ParseAxesDefinition(std::string(100000, '['), "mine.toml").ok());
  const std::string path = MakeTempDir("axes") + "/axes.toml";
  EXPECT_EQ(ReadAxesDefinition(path).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomic(path, std::string((size_t{1} << 20) + 1, '#')).ok());
  EXPECT_FALSE(ReadAxesDefinition(path).ok());
  ASSERT_TRUE(WriteFileAtomic(path, kGood).ok());
  EXPECT_EQ(ReadAxesDefinition(path)->axes.size(), 2u);
}

// Bytes changed, lost and doubled: a definition or an error, and what is read obeys the limits.
TEST(AxesDefinitionTest, DamagedFilesNeverCrash) {
  std::mt19937 random(5);
  const std::string text = std::string(kBuiltInAxesText).substr(0, 6000);
  for (int trial = 0; trial < 2000; ++trial) {
    std::string damaged = trial % 2 == 0 ? text : kGood;
    for (int change = 0; change < 1 + trial % 4; ++change) {
      const size_t at = random() % damaged.size();
      switch (random() % 3) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, 1 + random() % 20);
          break;
        default:
          damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 50));
      }
    }
    const auto definition = ParseAxesDefinition(damaged, "mine.toml");
    if (!definition.ok()) {
      EXPECT_THAT(std::string(Message(definition.status())), HasSubstr("mine.toml: line "));
      continue;
    }
    for (const AxisDefinition& axis : definition->axes) {
      EXPECT_TRUE(IsExplanationWord(axis.word));
      EXPECT_GE(axis.positive.size(), 2u);
    }
  }
}

}  // namespace
}  // namespace lorikeet
