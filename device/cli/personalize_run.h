// `lorikeet personalize`: select, warm-start, train, judge, and an entry in the history.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZE_RUN_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZE_RUN_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/cli/program.h"
#include "device/cli/engine.h"
#include "device/cli/personalize_options.h"
#include "device/personalization/history.h"
#include "device/personalization/stage_meter.h"

namespace lorikeet {

absl::Status RunPersonalize(const PersonalizeArguments& arguments, Output& output);

// What a training works on, opened; all of it is read before any of it is worked on.
struct PersonalizeInputs {
  PersonalizeOptions options;
  OwnerText text;
  Catalog catalog;
  Engine engine;
};
absl::StatusOr<PersonalizeInputs> OpenInputs(const PersonalizeArguments& arguments);

struct PersonalizeOutcome {
  PersonalizeResult result;
  std::vector<StageCost> costs;
  HistoryEntry entry;  // with origin and costs, not yet in any history
};
// Selects, trains and judges; shows stages and steps.  `kind`: of history_kind.  Null `energy`: not
// measured.
absl::StatusOr<PersonalizeOutcome> PersonalizeFrom(const PersonalizeArguments& arguments,
                                                   const PersonalizeInputs& inputs,
                                                   std::string_view kind, EnergyMeter* energy,
                                                   const Output& output);

// The entry's paths and records: where its model, catalog and text came from.
void FillOrigin(const PersonalizeArguments& arguments, const std::vector<int64_t>& records,
                HistoryEntry* entry);

// What puts back what served before the last change; empty if that changed nothing.
std::string UndoCommand(const History& history);

// "version 3 serves now; back: lorikeet personalize --rollback --out A.gguf", or what serves still.
std::string ServingLine(const History& history);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZE_RUN_H_
