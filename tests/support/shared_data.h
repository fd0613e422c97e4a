// Where the optional shared test data lies.  Not part of the repository: tests that need it skip
// with a message.
#ifndef LORIKEET_TESTS_SUPPORT_SHARED_DATA_H_
#define LORIKEET_TESTS_SUPPORT_SHARED_DATA_H_

#include <optional>
#include <string>
#include <string_view>

namespace lorikeet {

// Path of `relative` under $LORIKEET_SHARED (default ../shared beside the source tree), or nullopt
// if it is not there.
std::optional<std::string> SharedData(std::string_view relative);

// A fresh empty directory, removed at exit.
std::string MakeTempDir(std::string_view prefix);

}  // namespace lorikeet

// First statement of a test that needs shared data: defines `var` as the path or skips.
#define LORIKEET_SHARED_OR_SKIP(var, relative)                                   \
  const auto var##_optional = ::lorikeet::SharedData(relative);                  \
  if (!var##_optional)                                                           \
    GTEST_SKIP() << "no " << (relative) << " (set LORIKEET_SHARED to run this)"; \
  const std::string& var = *var##_optional

#endif  // LORIKEET_TESTS_SUPPORT_SHARED_DATA_H_
