// `lorikeet personalize`: select, warm-start, train, judge, and an entry in the history.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZE_RUN_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZE_RUN_H_

#include <string>

#include "absl/status/status.h"
#include "common/cli/program.h"
#include "device/cli/personalize_options.h"
#include "device/personalization/history.h"

namespace lorikeet {

absl::Status RunPersonalize(const PersonalizeArguments& arguments, Output& output);

// The entry's paths and records: where its model, catalog and text came from.
void FillOrigin(const PersonalizeArguments& arguments, const std::vector<int64_t>& records,
                HistoryEntry* entry);

// What puts back what served before the last change; empty if that changed nothing.
std::string UndoCommand(const History& history);

// "version 3 serves now; back: lorikeet personalize --rollback --out A.gguf", or what serves still.
std::string ServingLine(const History& history);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZE_RUN_H_
