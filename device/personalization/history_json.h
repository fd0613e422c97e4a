// history.json as text.  Not for anything but history.h.
//
//   {"format": "lorikeet-history", "version": 1, "settled": bool, "entries": [ENTRY, ...]}
// An entry has the names of HistoryEntry; time in RFC 3339; "records" as ranges [[first, last],
// ...]; losses and cost as objects, a loss that was not measured is null.  The reader takes nothing
// that the writer would not write: an unknown or missing key is an error.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_HISTORY_JSON_H_
#define LORIKEET_DEVICE_PERSONALIZATION_HISTORY_JSON_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "device/personalization/history.h"

namespace lorikeet {

struct HistoryFile {
  bool settled = true;  // false: the adapter file may not yet be what the last entry says
  std::vector<HistoryEntry> entries;
};

std::string SerializeHistory(const HistoryFile& file);
// DATA_LOSS: says what was expected where, and what came.
absl::StatusOr<HistoryFile> ParseHistory(std::string_view text);

// One entry, as `personalize --status --json` shows it too.
nlohmann::json HistoryEntryJson(const HistoryEntry& entry);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_HISTORY_JSON_H_
