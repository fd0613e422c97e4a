#include "common/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

std::string Bar(double share) {
  constexpr int kWidth = 20;
  const int full = static_cast<int>(share * kWidth);
  return absl::StrCat("[", std::string(full, '#'), std::string(kWidth - full, '.'), "]");
}

}  // namespace

ProgressLine::ProgressLine(bool enabled, std::string label)
    : enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) == 1),
      label_(std::move(label)),
      start_(absl::Now()) {}

ProgressLine::~ProgressLine() {
  if (drawn_ && terminal_) std::fputs("\r\x1b[K", stderr);
}

void ProgressLine::Update(int64_t done, int64_t total, std::string_view note,
                          std::optional<absl::Duration> left) {
  if (!enabled_) return;
  const absl::Time now = absl::Now();
  const absl::Duration interval = terminal_ ? absl::Milliseconds(100) : absl::Seconds(2);
  if (now - last_drawn_ < interval && done != total) return;
  last_drawn_ = now;
  std::string line = label_;
  if (total > 0) {
    const double share =
        std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
    absl::StrAppend(&line, " ", Bar(share), absl::StrFormat(" %d/%d", done, total));
    if (!left && done > 0) {
      left = (now - start_) * static_cast<double>(total - done) / static_cast<double>(done);
    }
    if (left && done < total && *left < absl::InfiniteDuration()) {
      absl::StrAppend(&line, " ", absl::FormatDuration(absl::Trunc(*left, absl::Seconds(1))),
                      " left");
    }
  } else {
    absl::StrAppend(&line, " ", done);
  }
  if (!note.empty()) absl::StrAppend(&line, "  ", ToAbsl(note));
  std::fprintf(stderr, terminal_ ? "\r\x1b[K%s" : "%s\n", line.c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace lorikeet
