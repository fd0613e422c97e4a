// lorikeet personalize: its options, and which of its four works they ask for (personalize_run.h,
// personalize_status.h, personalize_rebase.h).
#include <memory>
#include <string>

#include "common/base/atomic_file.h"
#include "common/base/status_macros.h"
#include "device/cli/command.h"
#include "device/cli/personalization_common.h"
#include "device/cli/personalize_incremental.h"
#include "device/cli/personalize_options.h"
#include "device/cli/personalize_rebase.h"
#include "device/cli/personalize_run.h"
#include "device/cli/personalize_status.h"
#include "device/cli/vault_link.h"

namespace lorikeet {
namespace {

absl::Status Missing(std::string_view option, std::string_view what_for) {
  return UsageError(std::string(option) + " is required " + std::string(what_for));
}

// For another base, from the last adapter, or from a persona.
absl::Status Learn(const PersonalizeArguments& arguments, Output& output) {
  if (arguments.rebase) return RunRebase(arguments, output);
  if (!arguments.reselect && arguments.report.path.empty()) {
    ASSIGN_OR_RETURN(const bool done, ContinuePersonal(arguments, output));
    if (done) return absl::OkStatus();
  }
  return RunPersonalize(arguments, output);
}

// The status and the way back need neither model nor text.
absl::Status RunPersonalizeCommand(const PersonalizeArguments& arguments, Output& output) {
  if (arguments.to >= 0 && !arguments.rollback) return UsageError("--to goes with --rollback");
  if (!arguments.from_model.empty() && !arguments.rebase) {
    return UsageError("--from-model goes with --rebase");
  }
  if (arguments.rebase && !arguments.report.path.empty()) {
    return UsageError("--report is a page about a choice of persona; it does not go with --rebase");
  }
  if (arguments.status) return ShowPersonalizeStatus(arguments, output);
  if (arguments.rollback) {
    if (arguments.out.empty()) return Missing("--out", "with --rollback");
    return RollBackPersonal(arguments, output);
  }
  if (arguments.engine.model.empty()) return Missing("--model", "to personalize");
  if (arguments.catalog.path.empty()) return Missing("--catalog", "to personalize");
  if (arguments.out.empty()) return Missing("--out", "to personalize");
  // Before an hour of training, not after.
  RETURN_IF_ERROR(CheckWritable(arguments.out));
  RETURN_IF_ERROR(CheckReportOptions(arguments.report));
  RETURN_IF_ERROR(PrepareVault(arguments, output));
  RETURN_IF_ERROR(Learn(arguments, output));
  return ConfirmVault(arguments);
}

void AddHistoryOptions(CLI::App* command, PersonalizeArguments& arguments) {
  CLI::Option* status = command->add_flag(
      "--status", arguments.status, "Show what was done to the adapter --out, and which serves");
  CLI::Option* rollback =
      command
          ->add_flag("--rollback", arguments.rollback,
                     "Put back what served before the last change; again: forward")
          ->excludes(status);
  command->add_option("--to", arguments.to, "With --rollback: to this version; 0: the bare base")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--reselect", arguments.reselect,
                    "Begin with a selection although there is an adapter to go on from");
  command
      ->add_flag("--rebase", arguments.rebase,
                 "Train for another base (--model, --catalog), judge it against base and adapter "
                 "in use on the same text, keep the better")
      ->excludes(status)
      ->excludes(rollback);
  command->add_option("--from-model", arguments.from_model,
                      "With --rebase: the base in use; default: where the history says it is");
}

void AddTrainOptions(CLI::App* command, PersonalizeArguments& arguments) {
  TrainOptions& train = arguments.options.train;
  command->add_option("--rank", arguments.options.rank, "Rank of the personal residual")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--alpha", arguments.options.alpha, "Scale numerator: alpha / rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--modules", arguments.modules, "all, or of q,k,v,o,gate,up,down")
      ->capture_default_str();
  command->add_option("--epochs", train.epochs, "Passes over the training part")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--steps", train.max_steps, "Optimizer steps; 0: by epochs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--lr", train.learning_rate, "Learning rate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--batch", train.batch_size, "Documents a step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--weight-decay", train.weight_decay, "AdamW's")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--patience", train.patience, "Evaluations without improvement; 0: never stop")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--seed", train.seed, "Of initialization and order")->capture_default_str();
  command
      ->add_option("--max-seconds", arguments.max_seconds, "Stop training after this; 0: no limit")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace

void AddPersonalizeCommand(Program& program) {
  auto arguments = std::make_shared<PersonalizeArguments>();
  arguments->options.train = DefaultPersonalTraining();
  CLI::App* command = program.Add(
      "personalize", "Select a persona, train on top of it, judge, keep the better; its history",
      [arguments](Output& output) { return RunPersonalizeCommand(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  arguments->catalog.Declare(command);
  for (const char* option : {"--model", "--catalog"}) command->get_option(option)->required(false);
  command->add_option(
      "--out", arguments->out,
      "The personal adapter; one that is there already is judged too and only replaced "
      "by a better one");
  AddHistoryOptions(command, *arguments);
  arguments->text.Declare(command);
  arguments->report.Declare(command);
  AddSelectOptions(command, arguments->options.select);
  AddTrainOptions(command, *arguments);
}

}  // namespace lorikeet
