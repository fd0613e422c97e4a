#include "common/wire/federation.h"

#include "absl/strings/str_cat.h"
#include "common/base/strings.h"

namespace lorikeet {

std::string_view ReleaseKindName(ReleaseKind kind) {
  return kind == ReleaseKind::kBase ? "base" : "catalog";
}

absl::StatusOr<ReleaseKind> ParseReleaseKind(std::string_view name) {
  if (name == "base") return ReleaseKind::kBase;
  if (name == "catalog") return ReleaseKind::kCatalog;
  return absl::InvalidArgumentError(
      absl::StrCat("release kind: expected base or catalog, got ", ToAbsl(name.substr(0, 32))));
}

std::string_view RoundPhaseName(RoundPhase phase) {
  switch (phase) {
    case RoundPhase::kAdvertise:
      return "advertise";
    case RoundPhase::kShare:
      return "share";
    case RoundPhase::kMask:
      return "mask";
    case RoundPhase::kAcknowledge:
      return "acknowledge";
    case RoundPhase::kUnmask:
      return "unmask";
    case RoundPhase::kDone:
      return "done";
    case RoundPhase::kAborted:
      return "aborted";
  }
  return "unknown";
}

}  // namespace lorikeet
