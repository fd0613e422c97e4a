#include "device/agent/base_slots.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {

void BaseSlots::Propose(InstalledRelease release) {
  candidate = std::move(release);
  checks_begun = 0;
}

bool BaseSlots::BeginCheck(absl::Time now) {
  LORIKEET_CHECK(candidate.has_value());
  if (checks_begun >= kMostBaseChecks) {
    Refuse(absl::StrCat("its check did not come back, ", checks_begun, " times"), now);
    return false;
  }
  ++checks_begun;
  return true;
}

void BaseSlots::Accept(std::optional<InstalledRelease>* base) {
  LORIKEET_CHECK(candidate.has_value());
  previous = std::exchange(*base, std::exchange(candidate, std::nullopt));
  on_trial = previous.has_value();
}

void BaseSlots::Refuse(std::string reason, absl::Time now) {
  LORIKEET_CHECK(candidate.has_value());
  refused = {
      .release = *std::exchange(candidate, std::nullopt), .reason = std::move(reason), .at = now};
}

bool BaseSlots::RollBack(std::string reason, absl::Time now,
                         std::optional<InstalledRelease>* base) {
  if (!on_trial || !previous || !*base) return false;
  refused = {.release = **base, .reason = std::move(reason), .at = now};
  *base = std::exchange(previous, std::nullopt);
  on_trial = false;
  return true;
}

bool BaseSlots::IsRefused(const Hash256& file) const {
  return refused && refused->release.file_hash == file;
}

std::vector<Hash256> BaseSlots::Files(const std::optional<InstalledRelease>& base) const {
  std::vector<Hash256> files;
  for (const auto* slot : {&base, &candidate, &previous}) {
    if (*slot) files.push_back((*slot)->file_hash);
  }
  return files;
}

}  // namespace lorikeet
