// What an operator runs beside the server: serve --check, --watch, and the dashboard's settings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OperateTest : public ::testing::Test {
 protected:
  OperateTest() { EXPECT_EQ(Run("init " + directory_ + " --listen 127.0.0.1:0").code, 0); }
  std::string config() const { return directory_ + "/coordinator.toml"; }
  CommandOutcome Run(const std::string& arguments) const {
    return RunCommand(absl::StrCat(LORIKEET_BIN_DIR, "/lorikeet-coordinator ", arguments));
  }
  CommandOutcome Check() const { return Run("serve --check --config " + config()); }
  void Edit(const std::string& from, const std::string& to) const {
    const std::string text = ReadFile(config(), 1 << 20).value();
    ASSERT_THAT(text, HasSubstr(from));
    ASSERT_TRUE(WriteFileAtomic(config(), absl::StrReplaceAll(text, {{from, to}})).ok());
  }

  std::string directory_ = MakeTempDir("operate") + "/coordinator";
};

TEST_F(OperateTest, AFreshDirectoryPassesEveryCheck) {
  const CommandOutcome result = Run("serve --check --json --config " + config());
  EXPECT_EQ(result.code, 0) << result.err;
  const auto document = nlohmann::json::parse(result.out);
  EXPECT_TRUE(document["ok"].get<bool>());
  EXPECT_GE(document["checks"].size(), 8u);
}

TEST_F(OperateTest, TheCheckNamesEverythingThatIsWrong) {
  const std::string other = MakeTempDir("other") + "/coordinator";
  ASSERT_EQ(Run("init " + other).code, 0);
  ASSERT_TRUE(
      WriteFileAtomic(directory_ + "/server.key", ReadFile(other + "/server.key", 1 << 20).value())
          .ok());
  Edit("dashboard = '127.0.0.1:0'", "dashboard = '0.0.0.0:0'");
  const CommandOutcome result = Check();
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out,
              HasSubstr("WRONG  certificates: expected the server's to go with its key"));
  EXPECT_THAT(result.out, HasSubstr("WRONG  dashboard: expected an address of this machine alone"));
  EXPECT_THAT(result.out, HasSubstr("ok     store"));
  EXPECT_THAT(result.err, HasSubstr("2 did not"));
  // And the server refuses the same.
  const CommandOutcome refused = Run("serve --config " + config());
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("dashboard_allow_remote"));
}

TEST_F(OperateTest, ErrorsInTheConfigHaveTheirLine) {
  Edit("cohort_floor = 30", "cohort_floor = 1");
  const std::string text = ReadFile(config(), 1 << 20).value();
  const auto line =
      std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(text.find("cohort_floor")),
                 '\n') +
      1;
  EXPECT_THAT(Check().out, HasSubstr(absl::StrCat("line ", line, ": cohort_floor: expected 2")));
  Edit("cohort_floor = 1", "cohort_floor = [");
  EXPECT_THAT(Check().out, HasSubstr("expected TOML, line "));
}

TEST_F(OperateTest, WatchShowsAgainUntilItIsStopped) {
  const std::string program = absl::StrCat(LORIKEET_BIN_DIR, "/lorikeet-coordinator ");
  const CommandOutcome result = RunCommand(absl::StrCat(
      "timeout --preserve-status -s INT 5 ", program, "task list --watch --config ", config()));
  EXPECT_EQ(result.code, 0) << result.err;
  const size_t first = result.out.find("no tasks");
  ASSERT_NE(first, std::string::npos);
  EXPECT_NE(result.out.find("no tasks", first + 1), std::string::npos) << "shown twice";
  EXPECT_THAT(result.out, Not(HasSubstr("\x1b["))) << "not a terminal";
  EXPECT_EQ(Run("ledger --watch --json --config " + config()).code, 2);
}

}  // namespace
}  // namespace lorikeet
