#include "coordinator/storage/store.h"

#include <algorithm>
#include <map>

#include "common/base/status_macros.h"

namespace lorikeet {

std::string_view TaskStateName(TaskState state) {
  switch (state) {
    case TaskState::kActive:
      return "active";
    case TaskState::kPaused:
      return "paused";
    case TaskState::kEnded:
      return "ended";
  }
  return "unknown";
}

std::string_view RoundStatusName(RoundStatus status) {
  switch (status) {
    case RoundStatus::kOpen:
      return "open";
    case RoundStatus::kDone:
      return "done";
    case RoundStatus::kAborted:
      return "aborted";
  }
  return "unknown";
}

absl::StatusOr<std::vector<RoundEventCount>> Store::CountRoundEvents(int64_t round_id) {
  ASSIGN_OR_RETURN(const auto events, RoundEvents(round_id));
  std::map<RoundEventKind, RoundEventCount> counts;
  for (const RoundEventRecord& event : events) {
    RoundEventCount& count = counts[event.kind];
    count.last = count.messages == 0 ? event.at : std::max(count.last, event.at);
    count.kind = event.kind;
    ++count.messages;
    count.bytes += event.payload.size();
  }
  std::vector<RoundEventCount> list;
  for (const auto& [kind, count] : counts) list.push_back(count);
  return list;
}

absl::StatusOr<std::vector<RoundRecord>> Store::RoundsAfter(int64_t id) {
  ASSIGN_OR_RETURN(std::vector<RoundRecord> rounds, ListRounds(""));
  std::erase_if(rounds, [id](const RoundRecord& round) { return round.id <= id; });
  std::reverse(rounds.begin(), rounds.end());
  return rounds;
}

absl::StatusOr<DeviceCounts> Store::CountDevices() {
  ASSIGN_OR_RETURN(const auto devices, ListDevices());
  DeviceCounts counts;
  for (const DeviceRecord& device : devices)
    ++(device.is_revoked() ? counts.revoked : counts.enrolled);
  return counts;
}

}  // namespace lorikeet
