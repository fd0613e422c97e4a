#include "device/agent/base_slots_json.h"

#include "common/base/status_macros.h"

namespace lorikeet {

using nlohmann::json;

json ReleaseToJson(const InstalledRelease& release) {
  return {{"version", release.version},
          {"file_hash", ToHex(release.file_hash)},
          {"base_fingerprint", release.base_fingerprint}};
}

absl::StatusOr<InstalledRelease> ReleaseFromJson(const json& j) {
  InstalledRelease release;
  release.version = j.at("version").get<uint64_t>();
  ASSIGN_OR_RETURN(release.file_hash, HashFromHex(j.at("file_hash").get<std::string>()));
  release.base_fingerprint = j.at("base_fingerprint").get<std::string>();
  return release;
}

json SlotsToJson(const BaseSlots& slots) {
  json j = {{"checks_begun", slots.checks_begun}, {"on_trial", slots.on_trial}};
  if (slots.candidate) j["candidate"] = ReleaseToJson(*slots.candidate);
  if (slots.previous) j["previous"] = ReleaseToJson(*slots.previous);
  if (slots.refused) {
    j["refused"] = {{"release", ReleaseToJson(slots.refused->release)},
                    {"reason", slots.refused->reason},
                    {"at_ms", absl::ToUnixMillis(slots.refused->at)}};
  }
  return j;
}

absl::StatusOr<BaseSlots> SlotsFromJson(const json& j) {
  BaseSlots slots;
  slots.checks_begun = j.at("checks_begun").get<int>();
  slots.on_trial = j.at("on_trial").get<bool>();
  if (j.contains("candidate")) {
    ASSIGN_OR_RETURN(slots.candidate, ReleaseFromJson(j.at("candidate")));
  }
  if (j.contains("previous")) {
    ASSIGN_OR_RETURN(slots.previous, ReleaseFromJson(j.at("previous")));
  }
  if (j.contains("refused")) {
    const json& refused = j.at("refused");
    slots.refused.emplace();
    ASSIGN_OR_RETURN(slots.refused->release, ReleaseFromJson(refused.at("release")));
    slots.refused->reason = refused.at("reason").get<std::string>();
    slots.refused->at = absl::FromUnixMillis(refused.at("at_ms").get<int64_t>());
  }
  return slots;
}

}  // namespace lorikeet
