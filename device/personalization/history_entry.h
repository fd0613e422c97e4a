// From a personalization to its entry in the history.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_HISTORY_ENTRY_H_
#define LORIKEET_DEVICE_PERSONALIZATION_HISTORY_ENTRY_H_

#include <span>
#include <string_view>

#include "common/adapter/catalog.h"
#include "device/personalization/history.h"
#include "device/personalization/personalizer.h"
#include "device/personalization/stage_meter.h"

namespace lorikeet {

// "kept", "persona", "rolled back".
std::string_view OutcomeName(Outcome outcome);

// All but paths, records and costs.
HistoryEntry MakeHistoryEntry(std::string_view kind, const PersonalizeResult& result,
                              const Catalog& catalog);

void AddCosts(std::span<const StageCost> costs, HistoryEntry* entry);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_HISTORY_ENTRY_H_
