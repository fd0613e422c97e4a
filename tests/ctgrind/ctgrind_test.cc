// Runs every case of ctgrind_cases under valgrind: honest ones without a report, planted leaks
// with.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lorikeet {
namespace {

struct Ran {
  int exit_code = -1;
  std::string output;
};

Ran RunCommand(const std::string& command) {
  Ran ran;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ran;
  std::array<char, 4096> buffer;
  size_t got;
  while ((got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0)
    ran.output.append(buffer.data(), got);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) ran.exit_code = WEXITSTATUS(status);
  return ran;
}

std::vector<std::string> Cases() {
  std::vector<std::string> cases;
  std::string name;
  for (const char c : RunCommand("'" LORIKEET_CTGRIND_CASES "'").output) {
    if (c == '\n') {
      cases.push_back(name);
      name.clear();
    } else {
      name += c;
    }
  }
  return cases;
}

TEST(CtgrindTest, NothingButPlantedLeaksDependsOnSecrets) {
  const std::string valgrind = LORIKEET_VALGRIND;
  if (valgrind.empty()) {
    GTEST_SKIP() << "needs valgrind and its header (apt-get install valgrind), and no sanitizers";
  }
  constexpr int kReported = 99;
  const std::vector<std::string> cases = Cases();
  ASSERT_GE(cases.size(), 7u);
  int planted = 0;
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    const Ran ran =
        RunCommand("'" + valgrind +
                   "' --quiet --error-exitcode=99 --suppressions='" LORIKEET_CTGRIND_ALLOWED
                   "' '" LORIKEET_CTGRIND_CASES "' " +
                   name);
    const bool must_fail = name.starts_with("planted");
    planted += must_fail ? 1 : 0;
    EXPECT_EQ(ran.exit_code, must_fail ? kReported : 0) << ran.output;
  }
  EXPECT_GE(planted, 2);
}

}  // namespace
}  // namespace lorikeet
