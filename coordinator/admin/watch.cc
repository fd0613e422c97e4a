#include "coordinator/admin/watch.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "coordinator/admin/commands.h"

namespace lorikeet {
namespace {

constexpr absl::Duration kEvery = absl::Seconds(2);
constexpr char kClear[] = "\x1b[H\x1b[2J";

}  // namespace

void AddWatchOption(CLI::App* command, bool* watch) {
  command->add_flag("--watch", *watch, "Show it again every two seconds, until Ctrl-C");
}

absl::Status RunWatched(bool watch, Output& out, const RunCommand& run) {
  if (!watch) return run(out);
  if (out.json()) return UsageError("expected --watch or --json, got both");
  const bool redraws = isatty(STDOUT_FILENO) == 1;
  while (!StopRequested()) {
    if (redraws) out.Raw(kClear);
    out.Line(FormatInstant(absl::Now()));
    RETURN_IF_ERROR(run(out));
    out.Text(redraws ? "" : "\n");  // and what was written is seen
    for (absl::Time next = absl::Now() + kEvery; absl::Now() < next && !StopRequested();) {
      absl::SleepFor(absl::Milliseconds(50));
    }
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
