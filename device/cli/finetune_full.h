// finetune --form full: what is particular to training all weights of a model.
#ifndef LORIKEET_DEVICE_CLI_FINETUNE_FULL_H_
#define LORIKEET_DEVICE_CLI_FINETUNE_FULL_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/cli/program.h"
#include "device/cli/engine.h"
#include "device/model/trainable_model.h"
#include "device/trainer/data.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

// The engine's model as numbers to train, after a line that says how many, and which of them were
// rounded in the file (they are trained, and written, as F32).
absl::StatusOr<std::unique_ptr<TrainableModel>> MakeTrainable(const Engine& engine, Output& output);

// What training will see, as JSON, to repeat it with another program: "train" and "eval" (lists of
// token ids), "steps" (for each, the indices of the training sequences whose mean loss it takes).
// Loss masks are not part of it.  REQUIRES: options.max_steps > 0.
absl::Status WriteBatches(const Dataset& dataset, const TrainOptions& options,
                          const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_FINETUNE_FULL_H_
