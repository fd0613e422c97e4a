// What select, personalize and persona share: options, the JSON keys of COMMANDS, progress lines.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZATION_COMMON_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZATION_COMMON_H_

#include "common/adapter/catalog.h"
#include "common/cli/program.h"
#include "device/personalization/personalizer.h"
#include "device/personalization/selector.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

void AddSelectOptions(CLI::App* command, SelectOptions& options);

nlohmann::json SelectionJson(const Selection& selection, const Catalog& catalog);
void PrintSelection(const Selection& selection, Output& output);

// finetune's keys, see COMMANDS.
nlohmann::json TrainingJson(const TrainResult& result);

// select's and finetune's keys, and verdict, outcome, loss_before, loss_after, loss_base,
// loss_persona, judge_tokens.
nlohmann::json PersonalizeJson(const PersonalizeResult& result, const Catalog& catalog);

// A progress line on stderr when the output wants one; stops training after Ctrl-C.
ProgressCallback TrainingProgress(const Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZATION_COMMON_H_
