#include "device/trainer/user_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "common/base/file.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string FileOf(const std::string& content) {
  const std::string path = MakeTempDir("users") + "/samples.jsonl";
  EXPECT_TRUE(WriteFileAtomic(path, content).ok());
  return path;
}

TEST(ReadUserSamplesTest, KeepsUsersAndSplitsApart) {
  const auto users =
      ReadUserSamples(FileOf("\xef\xbb\xbf"
                             R"({"user":"u","split":"train","text":"x"}
{"user":"v","split":"test","text":"y"}

{"user":"u","split":"test_other_work","text":"elsewhere"}
{"user":"u","split":"test","text":"z"}
{"user":"u","split":"test","text":""}
{"user":"v","text":"no split trains"})"));
  ASSERT_TRUE(users.ok()) << users.status();
  ASSERT_EQ(users->size(), 2u);
  EXPECT_EQ((*users)[0].user, "u");
  EXPECT_THAT((*users)[0].train, ElementsAre("x"));
  EXPECT_THAT((*users)[0].test, ElementsAre("z"));
  EXPECT_THAT((*users)[0].other_work, ElementsAre("elsewhere"));
  EXPECT_THAT((*users)[1].train, ElementsAre("no split trains"));
  EXPECT_THAT((*users)[1].test, ElementsAre("y"));
}

TEST(ReadUserSamplesTest, SaysWhatIsWrongAndWhere) {
  const std::string good = "{\"user\":\"u\",\"text\":\"x\"}\n";
  for (const auto& [line, message] : std::vector<std::pair<std::string, std::string>>{
           {"not json", "line 2: expected a JSON object, got malformed JSON"},
           {"[1]", "line 2: expected a JSON object, got array"},
           {"{\"text\":\"x\"}", "line 2: expected a \"user\", got none"},
           {"{\"user\":1,\"text\":\"x\"}", "line 2: expected a string under \"user\""},
           {"{\"user\":\"u\"}", "line 2: expected \"text\" or \"messages\", got neither"},
           {"{\"user\":\"u\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
            "line 2: expected a \"text\", got \"messages\""},
           {"{\"user\":\"u\",\"split\":\"valid\",\"text\":\"x\"}", "got \"valid\""},
           {"{\"user\":\"u\",\"text\":\"\xff\"}", "expected UTF-8, got byte 0xff"}}) {
    const std::string path = FileOf(good + line);
    const absl::Status status = ReadUserSamples(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
  EXPECT_THAT(std::string(ReadUserSamples(FileOf("\n")).status().message()),
              HasSubstr("expected lines of users, got none"));
}

}  // namespace
}  // namespace lorikeet
