// The device's ledger as it is kept in its state file.
#ifndef LORIKEET_DEVICE_AGENT_DEVICE_LEDGER_JSON_H_
#define LORIKEET_DEVICE_AGENT_DEVICE_LEDGER_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "device/agent/device_ledger.h"

namespace lorikeet {

nlohmann::json LedgerToJson(const DeviceLedger& ledger);
// DATA_LOSS: not what LedgerToJson writes.  Throws nlohmann::json::exception where a key is missing
// or of another type: for whoever parses the whole state.
absl::StatusOr<DeviceLedger> LedgerFromJson(const nlohmann::json& j);

// The ledger of a state file of format 1, which knew only a sum of epsilons over at most `rounds`
// rounds: one entry, without a curve.
DeviceLedger CarriedOver(double epsilon_spent, int64_t rounds);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_DEVICE_LEDGER_JSON_H_
