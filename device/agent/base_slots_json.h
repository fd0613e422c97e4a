// How an agent's state file (agent_store.h) writes releases and the two slots of the base.
#ifndef LORIKEET_DEVICE_AGENT_BASE_SLOTS_JSON_H_
#define LORIKEET_DEVICE_AGENT_BASE_SLOTS_JSON_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "device/agent/base_slots.h"

namespace lorikeet {

nlohmann::json ReleaseToJson(const InstalledRelease& release);
nlohmann::json SlotsToJson(const BaseSlots& slots);
// INVALID_ARGUMENT; throws nlohmann::json::exception on what has another shape.
absl::StatusOr<InstalledRelease> ReleaseFromJson(const nlohmann::json& j);
absl::StatusOr<BaseSlots> SlotsFromJson(const nlohmann::json& j);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_BASE_SLOTS_JSON_H_
