// What a device trusts, as JSON in its state file.  Not an interface.
#ifndef LORIKEET_DEVICE_AGENT_FLEET_TRUST_JSON_H_
#define LORIKEET_DEVICE_AGENT_FLEET_TRUST_JSON_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "device/agent/agent_store.h"

namespace lorikeet {

nlohmann::json ToJson(const StoredTrust& trust);
nlohmann::json ToJson(const TreeHead& head);

// Errors of the parsers, or json::exception: a member is missing or of another type.
absl::StatusOr<StoredTrust> StoredTrustFromJson(const nlohmann::json& j);
absl::StatusOr<TreeHead> TreeHeadFromJson(const nlohmann::json& j);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_FLEET_TRUST_JSON_H_
