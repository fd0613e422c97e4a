#include "coordinator/storage/store.h"

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

}  // namespace lorikeet
