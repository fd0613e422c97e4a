#include "device/personalization/text_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/random.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Views = std::vector<std::string_view>;

TEST(CollapseRepeatsTest, OrdinaryTextStaysAsItIs) {
  Repeats left_out;
  const Views documents = {"One line.\nAnother line, which is rather longer than the first.\n",
                           "ok", "A third document.\n", "ok"};
  EXPECT_EQ(CollapseRepeats(documents, &left_out), documents);
  EXPECT_EQ(left_out.count, 0);
  EXPECT_EQ(RepeatsNotice(left_out), "");
}

TEST(CollapseRepeatsTest, OneOfEqualLongDocumentsStays) {
  Repeats left_out;
  const std::string_view mail = "The printer on the third floor is jammed again.";
  EXPECT_THAT(CollapseRepeats(Views{mail, "Hello.", mail,
                                    "The printer on the third floor is "
                                    "jammed again.\n"},
                              &left_out),
              ElementsAre(mail, "Hello."));
  EXPECT_EQ(left_out.count, 2);
  EXPECT_THAT(RepeatsNotice(left_out), HasSubstr("left out 2 copies"));
}

TEST(CollapseRepeatsTest, AShortAnswerMayBeAHabit) {
  Repeats left_out;
  EXPECT_THAT(CollapseRepeats(Views(50, "lol ok"), &left_out), SizeIs(8));
  EXPECT_EQ(left_out.count, 42);
}

TEST(CollapseRepeatsTest, LinesOfOneGreatFile) {
  const std::string line = "all work and no play makes jack a dull boy\n";
  std::string file = "A beginning.\n";
  for (int i = 0; i < 1000; ++i) file += line;
  file += "An end.\n";
  Repeats left_out;
  EXPECT_THAT(CollapseRepeats(Views{file}, &left_out),
              ElementsAre("A beginning.\n" + line, "An end.\n"));
  EXPECT_EQ(left_out.count, 999);
  EXPECT_EQ(left_out.bytes, 999 * static_cast<int64_t>(line.size()));
}

TEST(CollapseRepeatsTest, ARefrainStays) {
  const std::string refrain = "Row, row, row your boat, gently down the stream\n";
  std::string song;
  for (int i = 0; i < 6; ++i) {
    song += "A verse of its own, numbered " + std::to_string(i) + ", about something else\n";
    song += refrain;
  }
  Repeats left_out;
  EXPECT_THAT(CollapseRepeats(Views{song}, &left_out), ElementsAre(song));
}

TEST(CheckWrittenTest, TextPasses) {
  std::string text;
  Rng rng(1);
  const char* words[] = {"the ",   "garden ", "was ",   "quiet ", "and ", "nobody ",
                         "spoke ", "of ",     "rain. ", "then ",  "we ",  "laughed\n"};
  for (int i = 0; i < 3000; ++i) text += words[rng.Below(12)];
  EXPECT_TRUE(CheckWritten(Views{text}).ok());
  EXPECT_TRUE(CheckWritten(Views{"short", "short"}).ok());
  EXPECT_TRUE(CheckWritten(Views{}).ok());
}

TEST(CheckWrittenTest, RefusesOneLineOverAndOverEvenWhereItsCutsDiffer) {
  std::string text;
  while (text.size() < 100000) text += "all work and no play makes jack a dull boy ";
  Views pieces;
  for (size_t at = 0; at < text.size(); at += 997) {
    pieces.push_back(std::string_view(text).substr(at, 997));
  }
  EXPECT_THAT(CheckWritten(pieces).ToString(), HasSubstr("only repeats itself"));
}

TEST(CheckWrittenTest, RefusesControlCharacters) {
  EXPECT_THAT(CheckWritten(Views{std::string_view("\0\0\0\0", 4)}).ToString(),
              HasSubstr("control characters"));
  std::string junk;
  Rng rng(2);
  for (int i = 0; i < 5000; ++i) junk.push_back(static_cast<char>(rng.Below(128)));
  EXPECT_THAT(CheckWritten(Views{junk}).ToString(), HasSubstr("binary data"));
  // A page break now and then is text.
  EXPECT_TRUE(CheckWritten(Views{"Page one, with enough text on it to be read by somebody who has "
                                 "the time to read it.\n\fPage two, with as much again of it.\n"})
                  .ok());
}

}  // namespace
}  // namespace lorikeet
