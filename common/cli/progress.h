// A progress line on stderr: label, share done, rate and time left, redrawn in place at most ten
// times a second.
#ifndef LORIKEET_COMMON_CLI_PROGRESS_H_
#define LORIKEET_COMMON_CLI_PROGRESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace lorikeet {

// Not thread-safe.  Erases its line when destroyed.  A disabled line does nothing; without a
// terminal (--progress into a file) it prints a plain line every two seconds instead.
class ProgressLine {
 public:
  ProgressLine(bool enabled, std::string label);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // `note` stands after the bar, e.g. "loss 4.21".  total <= 0: unknown.  The time left is computed
  // from the time that `done` took, unless the caller knows better.
  void Update(int64_t done, int64_t total, std::string_view note = {},
              std::optional<absl::Duration> left = std::nullopt);

 private:
  bool enabled_;
  bool terminal_;
  std::string label_;
  absl::Time start_;
  absl::Time last_drawn_ = absl::InfinitePast();
  bool drawn_ = false;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CLI_PROGRESS_H_
