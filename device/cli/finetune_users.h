// `lorikeet finetune --user a,b,c`: one adapter for each user of a samples.jsonl, all trained side
// by side (device/trainer/train_many.h).
#ifndef LORIKEET_DEVICE_CLI_FINETUNE_USERS_H_
#define LORIKEET_DEVICE_CLI_FINETUNE_USERS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/cli/program.h"
#include "device/cli/engine.h"
#include "device/cli/finetune_start.h"
#include "device/trainer/data.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

struct FinetuneUsersArguments {
  std::vector<std::string> users;
  std::string data;
  std::string out;  // directory; a user's adapter is USER.gguf in it
  StartArguments start;
  DataOptions text;
  // Of each user, but for the memory limit, which is of all.  Checkpoints and limits of energy are
  // not for several users.
  TrainOptions train;
  std::string pause_file;
};

// The names in "a,b,c".  Usage errors: an empty one, one that comes twice, or one that cannot be
// the name of a file.
absl::StatusOr<std::vector<std::string>> ParseUsers(std::string_view list);

// Writes an adapter for every user whose training went on to a result.  The error of the first
// user who has none, when the others' are written.
absl::Status FinetuneUsers(const FinetuneUsersArguments& arguments, const Engine& engine,
                           Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_FINETUNE_USERS_H_
